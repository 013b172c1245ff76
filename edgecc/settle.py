"""From what a user asks to what is done: reads the samples, reads or makes the plan."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir
from threadpoolctl import threadpool_limits

from edgecc import catalog
from edgecc.calibration.data import SYNTHETIC
from edgecc.calibration.samples import MOST_SAMPLES, Samples
from edgecc.cost import Cost, input_sizes
from edgecc.errors import UsageError, did_you_mean
from edgecc.measure.prices import found as prices_found
from edgecc.plan import Plan
from edgecc.planning.budget import PRICED
from edgecc.planning.costs import Selection
from edgecc.planning.make import Subject, planner_of, select
from edgecc.planning.planner import Planner
from edgecc.planning.prices import Prices
from edgecc.planning.search import Outcome, Verdict
from edgecc.planning.trial import Trial
from edgecc.request import MODELLED, Request
from edgecc.rewriting import Rewriting
from edgecc.shapes import Shape
from edgecc.target import Target, Tell


@dataclass(frozen=True)
class Workplace:
    """A prepared network, the target it is for, and a folder to work in."""

    model: ir.Model
    sha256: str
    """Of the file that the model came from."""
    inputs: dict[str, Shape]
    """The input sizes that costs are for."""
    whole: Cost
    board: Target
    scratch: Path
    tell: Tell = lambda text: None
    macs: dict[str, int] = field(default_factory=dict)
    """By convolution."""
    backend: str | None = None
    """What the network is lowered with; None is what the target takes by itself."""


def settle(request: Request, at: Workplace) -> Rewriting:
    """Return how the convolutions are rewritten; where a goal is asked for, plan it.

    Errors: `edgecc.errors.UsageError` for samples, plans and passes that cannot be followed,
    `edgecc.errors.BudgetError` where the goal cannot be met.
    """
    if request.plan is not None:
        plan = Plan.read(Path(request.plan), catalog.passes())
        return _following(request, plan, at)
    samples = _samples(request, request.source, at)
    if not request.goal:
        text = at.board.passes if request.passes is None else request.passes
        relu_aware = request.relu_aware is not False
        return Rewriting(catalog.pipeline(text), samples, relu_aware, fit=request.fit)
    assert samples is not None  # a goal has synthetic ones at least
    return _planned(request, samples, at)


def _samples(request: Request, source: str | Path | None, at: Workplace) -> Samples | None:
    if source is None:
        return None
    most = MOST_SAMPLES if request.samples is None else request.samples
    return Samples.read(source, at.model, request.preprocessing, most)


def _following(request: Request, plan: Plan, at: Workplace) -> Rewriting:
    """Follow a plan on the samples that it was fitted on: the same again gives the same bytes."""
    used, source = plan.calibration, request.source
    if used is not None and source is None:
        if used.name.partition(" ")[0] != SYNTHETIC:
            raise UsageError(
                f"the plan is fitted on calibration samples ({used.name})",
                hint="give them again with --calib, and their preprocessing",
            )
        source = SYNTHETIC
    samples = _samples(request, source, at)
    if samples is None:
        request.check_samples_are_used()
    if used is not None and samples is not None and samples.data.sha256 != used.sha256:
        raise UsageError(
            f"the plan is fitted on other samples ({used.name})",
            hint="give the same ones, as many and prepared alike; or take 'calibration' out of "
            "the plan to fit it on these",
        )
    said = request.relu_aware
    if said is None:
        said = used is None or used.relu_aware
    return Rewriting(plan, samples, said, fit=request.fit or used is not None)


def _planned(request: Request, samples: Samples, at: Workplace) -> Rewriting:
    """Make a plan; where a loss is allowed, rewrite copies of the network to see what it is."""
    planner = _planner(request, samples, at)

    def with_steps(
        selection: Selection, outcome: Outcome | None = None, told: dict[str, Any] | None = None
    ) -> Rewriting:
        tried = outcome.to_json() if outcome else None
        plan = Plan(at.sha256, selection.steps, request.goal.to_json(), search=tried)
        return Rewriting(plan, samples, request.relu_aware is not False, told)

    def judge(selection: Selection) -> Verdict:
        copy = at.model.clone()
        with_steps(selection).run(copy, [], at.scratch)
        return trial(copy)

    if request.goal.allows_loss:
        trial = Trial(
            request.goal,
            request.evaluation,
            at.model,
            samples.feeds,
            catalog.open_model,
            at.scratch,
        )
    made = select(planner, request.goal, judge, at.tell)
    return with_steps(made.selection, made.outcome, made.account)


def _planner(request: Request, samples: Samples, at: Workplace) -> Planner:
    """Survey the network for what a plan may choose."""
    digest = f"{at.sha256} edgecc {version('edgecc')}"
    sizes = input_sizes(at.model, at.inputs, catalog.infer_shapes)
    kept = _kept(request.keep, sizes)
    sizes = {name: size for name, size in sizes.items() if name not in kept}
    families, prices = catalog.families(request.families), _prices(request, at)
    with threadpool_limits(limits=1, user_api="blas"):
        return planner_of(
            Subject(at.model, digest, at.whole, sizes, at.macs),
            samples,
            families,
            prices,
            at.board.granule,
            at.scratch,
            at.tell,
            patient=request.families is not None,
        )


def _prices(request: Request, at: Workplace) -> Prices | None:
    """What operators cost on the board; None where nobody knows, and nobody asks."""
    asked = any(budget.quantity in PRICED for budget in request.goal.budgets)
    if at.board.peaks is None and request.prices is None and not asked:
        return None
    if str(request.prices) == MODELLED:
        return catalog.prices(at.board)
    if request.prices is not None:
        return catalog.prices(at.board, Path(request.prices))
    known = prices_found(at.board.name, at.backend or at.board.backend) if at.board.peaks else None
    return catalog.prices(at.board, known)


def _kept(patterns: str | None, names: Iterable[str]) -> set[str]:
    """The convolutions that the user wants left alone."""
    found: set[str] = set()
    for pattern in filter(None, map(str.strip, (patterns or "").split(","))):
        matching = {name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)}
        if not matching:
            raise UsageError(
                f"no convolution is called '{pattern}'", hint=did_you_mean(pattern, names)
            )
        found |= matching
    return found
