"""The rewrite of a network's convolutions: from their weights alone, or calibrated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
from threadpoolctl import threadpool_limits

from edgecc.calibration.refit import Chooser, SequentialRefit
from edgecc.calibration.samples import Samples
from edgecc.conv import is_convolution
from edgecc.pipeline import Observer, Pipeline, Report
from edgecc.plan import Plan, SamplesUsed
from edgecc.rewrite import ConvRewrite, Decision, refuse_nested
from edgecc.target import Tell

Refit = Callable[[Chooser], list[Decision]]


@dataclass(frozen=True)
class Rewriting:
    """How the convolutions of a network are rewritten, settled."""

    rewrites: Pipeline | Plan
    samples: Samples | None = None
    """With samples, layer by layer in the order of the network, each fitted to what the
    rewritten network feeds it; without, from the weights alone."""
    relu_aware: bool = True
    account: dict[str, Any] | None = None
    """What a planner chose among, where one did."""
    fit: bool = True
    """Whether the samples have a say in it (`edgecc.request.Request.fit`)."""

    def run(
        self,
        model: ir.Model,
        observers: Sequence[Observer],
        scratch: Path,
        tell: Tell = lambda text: None,
    ) -> list[Report]:
        """Rewrite `model` in place; where nothing was asked to, say so of each convolution.

        On one thread of BLAS: the same bytes on any number of cores, and faster, as most
        convolutions are small.
        """
        with threadpool_limits(limits=1, user_api="blas"):
            if self.samples is None or not self.fit:
                reports = self.rewrites.run(model, observers)
            else:
                reports = self._calibrated(model, observers, self._refit(model, scratch, tell))
        if not any(report.of_convolutions for report in reports):
            reports.append(_told(_idle(model), model, observers))
        return reports

    @property
    def goal(self) -> Mapping[str, float | str]:
        """The budget that a plan was made for."""
        return self.rewrites.goal if isinstance(self.rewrites, Plan) else {}

    @property
    def samples_used(self) -> SamplesUsed | None:
        """What a plan notes of the samples."""
        if self.samples is None or not self.fit:
            return None
        data = self.samples.data
        return SamplesUsed(name=data.name, sha256=data.sha256, relu_aware=self.relu_aware)

    def _refit(self, model: ir.Model, scratch: Path, tell: Tell) -> Refit:
        feeds = self.samples.feeds if self.samples else []

        def run(choose: Chooser) -> list[Decision]:
            walk = SequentialRefit(
                model, feeds, choose, scratch, relu_aware=self.relu_aware, tell=tell
            )
            return walk.run()

        return run

    def _calibrated(
        self, model: ir.Model, observers: Sequence[Observer], refit: Refit
    ) -> list[Report]:
        """Run a plan, or the passes of a pipeline, those on convolutions together."""
        if isinstance(self.rewrites, Plan):
            decisions = refit(self.rewrites.chooser()) + refuse_nested(model, "plan")
            self.rewrites.check({name for d in decisions for name in (d.node, *d.made)})
            return [_told(Report("plan", decisions, of_convolutions=True), model, observers)]
        reports = []
        for together, steps in itertools.groupby(
            self.rewrites.passes, lambda step: isinstance(step, ConvRewrite)
        ):
            found = list(steps)
            if not together:
                reports += Pipeline(tuple(found)).run(model, observers)
                continue
            decisions = refit(_in_turn([s for s in found if isinstance(s, ConvRewrite)]))
            decisions += refuse_nested(model, found[0].name)
            text = ", ".join(map(str, found))
            reports.append(_told(Report(text, decisions, of_convolutions=True), model, observers))
        return reports


def _idle(model: ir.Model) -> Report:
    """Every convolution is as it was, as nobody asked for anything else."""
    names = [node.name or "" for node in model.graph if is_convolution(node)]
    idle = [Decision(name, "none", refusal="no pass was asked to rewrite it") for name in names]
    return Report("none", idle + refuse_nested(model, "none"), of_convolutions=True)


def _in_turn(rewrites: Sequence[ConvRewrite]) -> Chooser:
    """Each of the rewrites on the network's own convolutions; on what one made, those after it."""

    def choose(name: str, by: ConvRewrite | None) -> Sequence[ConvRewrite]:
        start = 0 if by is None else next(i for i, r in enumerate(rewrites) if r is by) + 1
        return rewrites[start:]

    return choose


def _told(report: Report, model: ir.Model, observers: Sequence[Observer]) -> Report:
    for observe in observers:
        observe(report, model)
    return report
