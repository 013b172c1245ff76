"""The smallest network that is good enough, found by asking a judge."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import pytest

from edgecc import catalog
from edgecc.cost import Cost
from edgecc.errors import BudgetError
from edgecc.layers import Layer
from edgecc.planning.budget import Budget, Drop, Goal
from edgecc.planning.costs import Costs, Selection
from edgecc.planning.make import select
from edgecc.planning.planner import Planner
from edgecc.planning.search import TRIALS, Verdict, smallest
from edgecc.planning.table import Candidate, Row
from passes.decompose.basis import Basis

REST = 100
"""Multiply-adds and parameters that no row can save."""


def layer(macs: int, params: int) -> tuple[Layer, ...]:
    """Operators of so many multiply-adds and parameters."""
    spread = Layer("Conv", (1,), (macs // 10,), (1, 10))
    return (spread, Layer("Conv", (1,), (0,), (1, params - 10)))


def planner(steps: int = 100, convolutions: int = 3) -> Planner:
    """Each of the convolutions, of 1000 multiply-adds and parameters, in many sizes; the larger
    in parameters are the smaller in multiply-adds.
    """
    rows = []
    for number in range(convolutions):
        found = [Candidate(None, 0.0, layer(1000, 1000))]
        for step in range(1, steps):
            macs, params = 1000 * step // steps // 10 * 10, 1000 - 900 * step // steps
            found.append(Candidate(Basis(rank=step), (1 - step / steps) ** 2, layer(macs, params)))
        rows.append(Row(f"conv{number}", tuple(found)))
    total = 1000 * convolutions + REST
    prices = catalog.prices(catalog.target("host"))
    weights = {row.name: 1.0 for row in rows}
    return Planner(Costs(rows, prices, Cost(total, total)), weights)


def at_least(
    made: Planner, fraction: float, asked: list[float] | None = None
) -> Callable[..., Verdict]:
    """A judge that accepts what keeps so much of the multiply-adds."""

    def judge(selection: Selection) -> Verdict:
        reached = made.costs.fraction("macs", selection)
        if asked is not None:
            asked.append(reached)
        return Verdict(reached >= fraction, f"kept {reached:.3f}")

    return judge


def test_a_judge_who_accepts_all_gets_the_smallest() -> None:
    made = planner()
    found = smallest(made, [Budget("macs", 1.0)], at_least(made, 0.0)).selection
    low = made.smallest("macs")
    assert low <= made.costs.fraction("macs", found) <= low + 1 / 2**TRIALS


@pytest.mark.parametrize("threshold", [0.1, 0.31, 0.5, 0.77, 0.95])
def test_the_smallest_that_is_accepted(threshold: float) -> None:
    made, asked = planner(), list[float]()
    found = smallest(made, [Budget("macs", 1.0)], at_least(made, threshold, asked)).selection
    reached = made.costs.fraction("macs", found)
    assert threshold <= reached <= threshold + 1.5 / 2**TRIALS
    assert len(asked) == TRIALS
    assert reached == min(fraction for fraction in asked if fraction >= threshold)


def test_the_network_as_it_is_is_the_last_resort() -> None:
    made = planner()
    found = smallest(made, [Budget("macs", 1.0)], at_least(made, 2.0)).selection
    assert set(found.steps.values()) == {None}
    assert made.costs.fraction("macs", found) == 1.0


def test_nothing_to_rewrite_is_no_failure() -> None:
    made = planner(steps=1)
    found = smallest(made, [Budget("macs", 1.0)], at_least(made, 0.0)).selection
    assert made.costs.fraction("macs", found) == 1.0


def test_a_loss_that_a_budget_does_not_allow() -> None:
    made = planner()
    with pytest.raises(BudgetError) as caught:
        smallest(made, [Budget("macs", 0.4)], at_least(made, 0.6))
    assert caught.value.exit_code == 6
    assert caught.value.message == "--macs 0.4 cannot be met within the loss allowed"
    match = re.fullmatch(r"--macs ([\d.]+) can \(kept ([\d.]+)\)", caught.value.hint or "")
    assert match
    assert 0.6 <= float(match[2]) <= float(match[1]) <= 0.62
    again = smallest(made, [Budget.parse("macs", match[1])], at_least(made, 0.6)).selection
    assert 0.6 <= made.costs.fraction("macs", again) <= float(match[1])


def test_what_is_told_where_nothing_is_accepted() -> None:
    made = planner()
    with pytest.raises(BudgetError) as caught:
        smallest(made, [Budget("macs", 0.4)], at_least(made, 2.0))
    assert caught.value.hint == "--macs 1 can (the network as it is)"


@pytest.mark.parametrize("threshold", [0.3, 0.49])
def test_a_budget_that_is_accepted_is_met(threshold: float) -> None:
    made = planner()
    judge = at_least(made, threshold)
    assert judge(made.within([Budget("macs", 0.5)])).accepted
    found = smallest(made, [Budget("macs", 0.5)], judge).selection
    assert threshold <= made.costs.fraction("macs", found) <= 0.5


def test_each_trial_is_told() -> None:
    made, told = planner(), list[str]()
    smallest(made, [Budget("macs", 1.0)], at_least(made, 0.5), told.append)
    assert len(told) == TRIALS
    assert all(re.fullmatch(r"0\.\d\d of the macs (accepted|refused): kept .*", t) for t in told)
    assert {"accepted", "refused"} <= {
        word for line in told for word in line.replace(":", "").split()
    }


def test_other_quantities_are_searched_as_well() -> None:
    made = planner()
    found = smallest(made, [Budget("params", 1.0)], lambda s: Verdict(True, "")).selection
    low = made.smallest("params")
    assert low <= made.costs.fraction("params", found) <= low + 1 / 2**TRIALS


def test_a_goal_that_allows_a_loss_asks_the_judge() -> None:
    made, told = planner(), list[str]()
    goal = Goal((Budget("macs", 0.9),), max_drop=Drop(0.01))
    found = select(made, goal, at_least(made, 0.5), told.append)
    reached = made.costs.fraction("macs", found.selection)
    assert 0.5 <= reached <= 0.53
    assert found.account["predicted"]["macs"] == round(reached, 4)
    assert found.outcome is not None
    without = Goal(max_error=0.1)
    selection = select(made, without, at_least(made, 0.5), told.append).selection
    assert 0.5 <= made.costs.fraction("macs", selection) <= 0.53


def test_a_goal_without_one_does_not() -> None:
    def never(selection: Selection) -> Verdict:
        raise AssertionError("nobody is asked")

    made = planner()
    selection = select(made, Goal((Budget("macs", 0.5),)), never, print).selection
    assert made.costs.fraction("macs", selection) <= 0.5


def test_all_budgets_hold_where_a_loss_is_allowed() -> None:
    made = planner()
    budgets = (Budget("macs", 0.9), Budget("params", 0.8))
    goal = Goal(budgets, max_error=0.1)
    selection = select(made, goal, at_least(made, 0.1), print).selection
    for budget in budgets:
        assert made.costs.fraction(budget.quantity, selection) <= budget.fraction


@pytest.mark.parametrize("quantity", ["macs", "latency"])
def test_a_network_without_convolutions(quantity: str) -> None:
    made = Planner(Costs([], catalog.prices(catalog.target("host")), Cost(0, 0)), {})
    goal = Goal((Budget(quantity, 1.0),), max_error=0.1)  # type: ignore[arg-type]
    selection = select(made, goal, lambda selection: Verdict(True, ""), print).selection
    assert selection.steps == {}


@pytest.mark.parametrize("quantity", ["macs", "latency"])
def test_a_part_of_nothing_cannot_be_had(quantity: str) -> None:
    made = Planner(Costs([], catalog.prices(catalog.target("host")), Cost(0, 0)), {})
    goal = Goal((Budget(quantity, 0.5),))  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match=rf"comes down to --{quantity} 0\.5") as caught:
        select(made, goal, lambda selection: Verdict(True, ""), print)
    assert caught.value.hint == f"the nearest that can be reached is --{quantity} 1"


def test_the_outcome_has_every_trial() -> None:
    made = planner()

    def judge(selection: Selection) -> Verdict:
        kept = made.costs.fraction("macs", selection)
        return Verdict(kept >= 0.5, "", {"metric": kept, "error": math.inf}, {"metric": 1.0})

    outcome = smallest(made, [Budget("macs", 0.9)], judge)
    told = outcome.to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["quantity"] == "macs"
    assert told["original"] == {"metric": 1.0}
    assert len(told["trials"]) == TRIALS + 1
    for trial in told["trials"]:
        assert trial["fraction"] <= trial["asked"]
        assert trial["accepted"] == (trial["metric"] >= 0.5)
        assert trial["error"] is None
    best = min((t for t in told["trials"] if t["accepted"]), key=lambda t: t["fraction"])
    assert told["reached"] == {key: best[key] for key in ("fraction", "metric", "error")}
    assert made.costs.fraction("macs", outcome.selection) == pytest.approx(
        best["fraction"], abs=1e-4
    )


def test_the_outcome_where_nothing_is_accepted() -> None:
    made = planner()
    verdict = Verdict(False, "", {"metric": 0.1}, {"metric": 0.9})
    told = smallest(made, [Budget("macs", 1.0)], lambda selection: verdict).to_json()
    assert told["reached"] == {"fraction": 1.0, "metric": 0.9}
    assert not any(trial["accepted"] for trial in told["trials"])
