"""Makes a plan: surveys the network, chooses within the budget, tries where a loss is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecc.calibration.cache import StatisticsCache
from edgecc.calibration.collect import seen_by
from edgecc.calibration.samples import Samples
from edgecc.cost import Cost
from edgecc.layers import Sizes
from edgecc.planning.account import account
from edgecc.planning.budget import Budget, Goal
from edgecc.planning.costs import Costs, Selection
from edgecc.planning.feeds import feeds
from edgecc.planning.planner import Planner
from edgecc.planning.prices import Prices
from edgecc.planning.search import Outcome, Verdict, smallest
from edgecc.planning.storage import Storage
from edgecc.planning.survey import survey
from edgecc.rewrite import ConvRewrite
from edgecc.target import Tell


@dataclass(frozen=True)
class Subject:
    """The network that a plan is made for."""

    model: ir.Model
    """Prepared."""
    digest: str
    """Of the file that it came from, and of what prepared it."""
    whole: Cost
    sizes: Mapping[str, Sizes]
    """By convolution, the spatial sizes of its input."""
    macs: Mapping[str, int] = field(default_factory=dict)
    """By convolution, what it takes with the batch that the network has."""


def planner_of(
    subject: Subject,
    samples: Samples,
    families: Sequence[ConvRewrite],
    prices: Prices | None,
    granule: int,
    scratch: Path,
    tell: Tell,
    *,
    patient: bool = False,
) -> Planner:
    """Survey the network. Errors: `edgecc.errors.ModelError`."""
    batches = [len(next(iter(feed.values()))) for feed in samples.feeds]
    cache = StatisticsCache(
        subject.digest, samples.data.sha256, str(batches), seen_by(subject.model)
    )
    found = survey(
        subject.model,
        samples.feeds,
        families,
        subject.sizes,
        granule,
        scratch,
        cache,
        tell,
        patient=patient,
        macs=subject.whole.macs,
    )
    costs = Costs(
        found.rows,
        prices,
        subject.whole,
        feeds(subject.model),
        subject.macs,
        Storage.of(subject.model, subject.sizes),
    )
    return Planner(costs, found.weights)


@dataclass(frozen=True)
class Made:
    """What a goal was met by, and how it came to that."""

    selection: Selection
    account: dict[str, Any]
    outcome: Outcome | None = None
    """What was tried, where a loss is allowed."""


def select(planner: Planner, goal: Goal, judge: Callable[[Selection], Verdict], tell: Tell) -> Made:
    """Return what the goal asks for; `judge` is asked where a loss is allowed.

    Errors: `edgecc.errors.BudgetError` with the nearest budget that can be met.
    """
    budgets = list(goal.budgets)
    if not goal.allows_loss:
        selection = planner.within(budgets)
        return Made(selection, account(planner, selection, budgets))
    found = smallest(planner, budgets or [Budget("macs", 1.0)], judge, tell)
    return Made(found.selection, account(planner, found.selection, budgets), found)
