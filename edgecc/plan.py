"""A plan: for each convolution the pass and the options that rewrite it. Editable, re-appliable."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import BaseModel, ConfigDict, ValidationError

from edgecc.bundle import PLAN
from edgecc.conv import is_convolution
from edgecc.errors import UsageError, did_you_mean
from edgecc.pipeline import Observer, Report, make_pass
from edgecc.rewrite import ConvRewrite, Decision, Pass, refuse_nested

SCHEMA_VERSION = 1


class Step(BaseModel):
    """What becomes of one convolution; no pass leaves it as it is."""

    model_config = ConfigDict(extra="forbid")

    family: str | None
    options: dict[str, Any] = {}


class SamplesUsed(BaseModel):
    """The calibration samples that a plan is fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    """Of the samples and their preprocessing."""
    relu_aware: bool = True


class PlanFile(BaseModel):
    """The JSON form of a plan."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    model_sha256: str
    """The model it was made for; another one with the same names takes it too."""
    goal: dict[str, float | str] = {}
    """The budget it was made for; what stands here changes nothing."""
    search: dict[str, Any] | None = None
    """What was tried for it, where a loss was allowed; what stands here changes nothing."""
    calibration: SamplesUsed | None = None
    """None rewrites from the weights alone."""
    convolutions: dict[str, Step]
    """By name, in the order of the network. A convolution that is not named stays as it is."""


@dataclass(frozen=True)
class Plan:
    """Rewrites by the name of the convolution, and the model they were made for."""

    model_sha256: str
    steps: Mapping[str, ConvRewrite | None] = field(default_factory=dict)
    goal: Mapping[str, float | str] = field(default_factory=dict)
    calibration: SamplesUsed | None = None
    search: Mapping[str, Any] | None = None
    """What was tried for the goal, in the form of `edgecc.planning.search.Outcome.to_json`."""

    @classmethod
    def of(
        cls,
        model_sha256: str,
        reports: Sequence[Report],
        known: Known,
        *,
        followed: Plan | None = None,
        calibration: SamplesUsed | None = None,
    ) -> Plan:
        """Return the plan that repeats what `reports` tell; goal and search are of the plan that
        they `followed`.

        It names every convolution of the network, and of what replaced them what was rewritten.
        """
        about = [report.decisions for report in reports if report.of_convolutions]
        steps: dict[str, ConvRewrite | None] = {d.node: None for d in (about or [[]])[0]}
        for decision in itertools.chain.from_iterable(about):
            if decision.options is not None:
                made = make_pass(decision.by, decision.options, known)
                assert isinstance(made, ConvRewrite)
                steps[decision.node] = made
        if followed is None:
            return cls(model_sha256, steps, {}, calibration)
        return cls(model_sha256, steps, followed.goal, calibration, followed.search)

    @classmethod
    def read(cls, path: Path, known: Known) -> Plan:
        """Read a plan file. Errors: `edgecc.errors.UsageError`."""
        try:
            file = PlanFile.model_validate_json(path.read_bytes())
        except OSError as error:
            inside = path / PLAN if path.is_dir() else None
            hint = f"the plan of a bundle is {inside}" if inside and inside.is_file() else None
            raise UsageError(f"cannot read the plan {path}: {error.strerror}", hint=hint) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise UsageError(
                f"the plan {path} is not one: {where}: {first['msg']}",
                hint="edgecc build leaves a plan.json in every bundle",
            ) from None
        if file.schema_version != SCHEMA_VERSION:
            raise UsageError(
                f"the plan {path} has schema_version {file.schema_version}; this edgecc reads "
                f"{SCHEMA_VERSION}",
                hint="build the model again with this edgecc for a new one",
            )
        steps = {name: _rewrite(name, step, known) for name, step in file.convolutions.items()}
        return cls(file.model_sha256, steps, file.goal, file.calibration, file.search)

    def __str__(self) -> str:
        return "plan"

    def to_json(self) -> str:
        """Return the text of the plan file."""
        file = PlanFile(
            schema_version=SCHEMA_VERSION,
            model_sha256=self.model_sha256,
            goal=dict(self.goal),
            search=dict(self.search) if self.search is not None else None,
            calibration=self.calibration,
            convolutions={
                name: Step(
                    family=step.name if step else None, options=step.options() if step else {}
                )
                for name, step in self.steps.items()
            },
        )
        return json.dumps(file.model_dump(), indent=2) + "\n"

    def run(self, model: ir.Model, observers: Iterable[Observer] = ()) -> list[Report]:
        """Rewrite `model` as planned, in place; then what that made, where the plan names it.

        Errors: `edgecc.errors.UsageError` for a name that is not a convolution of the model.
        """
        waiting = [node for node in model.graph if is_convolution(node)]
        seen: set[str] = set()
        reports: list[Report] = []
        while waiting or not reports:
            seen.update(node.name or "" for node in waiting)
            decisions, made = self._wave(waiting)
            if not reports:
                decisions += refuse_nested(model, "plan")
                seen.update(decision.node for decision in decisions)
            reports.append(Report("plan", decisions, of_convolutions=True))
            for observe in observers:
                observe(reports[-1], model)
            waiting = [node for node in made if self.steps.get(node.name or "")]
            seen.update(node.name or "" for node in made)
        self.check(seen)
        return reports

    def chooser(self) -> Callable[[str, ConvRewrite | None], Sequence[ConvRewrite]]:
        """Return what tells the rewrites to try on a convolution by its name."""
        return lambda name, by: [step] if (step := self.steps.get(name)) else []

    def check(self, seen: Collection[str]) -> None:
        """Check that every name was met with.

        Errors: `edgecc.errors.UsageError` for a name that is not a convolution of the model.
        """
        if unknown := [name for name in self.steps if name not in seen]:
            raise UsageError(
                f"the plan names '{unknown[0]}', which is no convolution of this model",
                hint=did_you_mean(unknown[0], seen),
            )

    def _wave(self, nodes: list[ir.Node]) -> tuple[list[Decision], list[ir.Node]]:
        """Rewrite `nodes`; return what was decided and the nodes that took their places."""
        decisions, made = [], []
        for node in nodes:
            step = self.steps.get(node.name or "")
            if step is None:
                decisions.append(Decision(node.name or "", "plan", refusal="the plan leaves it"))
                continue
            decision, new = step.apply(node)
            decisions.append(decision)
            made += new
        return decisions, made


Known = Mapping[str, type[Pass]]


def _rewrite(name: str, step: Step, known: Known) -> ConvRewrite | None:
    if step.family is None:
        return None
    made = make_pass(step.family, step.options, known)
    if not isinstance(made, ConvRewrite):
        raise UsageError(f"the plan rewrites '{name}' with {made.name}, which is for whole models")
    return made
