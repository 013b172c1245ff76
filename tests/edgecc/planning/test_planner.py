"""Plans hold their budgets, as counted on the network that they make."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

import pytest
from classifier import X, network
from sampled import Planned, planned

from edgecc.errors import BudgetError
from edgecc.planning.account import account
from edgecc.planning.budget import Budget, Quantity
from edgecc.planning.costs import Costs, Selection
from edgecc.planning.planner import Planner, felt


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return planned(network(), X)


def predicted(planner: Planner, selection: Selection) -> float:
    """What the output feels, as the planner weighs it."""
    pairs = zip(selection.rows, selection.chosen, strict=True)
    return sum(
        planner.weights[row.name] * felt(row.candidates[index].error) for row, index in pairs
    )


def of(cost: Any, quantity: str) -> int:
    found = getattr(cost, quantity)
    assert isinstance(found, int)
    return found


def test_the_plan_is_for_the_whole_network(plan: Planned) -> None:
    assert [row.name for row in plan.planner.costs.rows] == ["Conv_a", "Conv_c", "Conv_e", "Conv_i"]
    selection = plan.planner.within([])
    assert set(selection.steps.values()) == {None}
    for quantity in ("macs", "params", "latency", "energy"):
        assert plan.planner.costs.fraction(quantity, selection) == 1.0
    assert plan.whole.macs == 100 * (16 * 36 + 2 * 16 * 144 + 24 * 16) + 24 * 6


@pytest.mark.parametrize("quantity", ["macs", "params"])
@pytest.mark.parametrize("fraction", [0.15, 0.33, 0.5, 0.513, 0.8, 1.0])
def test_a_budget_is_held_as_counted_on_the_graph(
    plan: Planned, quantity: Quantity, fraction: float
) -> None:
    selection = plan.planner.within([Budget(quantity, fraction)])
    left = of(plan.cost_of(selection), quantity)
    assert left <= fraction * of(plan.whole, quantity)
    expected = plan.planner.costs.fraction(quantity, selection) * of(plan.whole, quantity)
    assert left == pytest.approx(expected, abs=1e-6)
    assert left > (fraction - 0.05) * of(plan.whole, quantity)  # it is used


def test_two_budgets_are_held_at_once(plan: Planned) -> None:
    budgets = [Budget("macs", 0.6), Budget("params", 0.45)]
    selection = plan.planner.within(budgets)
    left = plan.cost_of(selection)
    assert left.macs <= 0.6 * plan.whole.macs
    assert left.params <= 0.45 * plan.whole.params
    each = [predicted(plan.planner, plan.planner.within([budget])) for budget in budgets]
    assert predicted(plan.planner, selection) >= max(each) - 1e-9


@pytest.mark.parametrize("quantity", ["macs", "params", "latency", "energy"])
def test_more_room_is_never_worse(plan: Planned, quantity: Quantity) -> None:
    low = plan.planner.smallest(quantity)
    fractions = [low + (1 - low) * step / 12 for step in range(1, 13)]
    found = [plan.planner.within([Budget(quantity, fraction)]) for fraction in fractions]
    errors = [predicted(plan.planner, selection) for selection in found]
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(errors))
    assert errors[-1] == 0
    for fraction, selection in zip(fractions, found, strict=True):
        assert plan.planner.costs.fraction(quantity, selection) <= fraction + 1e-9


def test_the_least_error_of_all_selections() -> None:
    """Tried one by one, where there are few."""
    few = planned(network(), X, "basis(rank=4), spatial_svd(rank=4)", granule=8)
    planner = few.planner
    rows = [row.candidates[:4] for row in planner.costs.rows]
    fewer = [type(row)(row.name, kept) for row, kept in zip(planner.costs.rows, rows, strict=True)]
    small = Planner(
        Costs(fewer, planner.costs.prices, planner.costs.whole),
        planner.weights,
    )
    every = [Selection(fewer, chosen) for chosen in _product([len(row) for row in rows])]
    for fraction in (0.4, 0.55, 0.7, 0.9):
        fits = [s for s in every if small.costs.fraction("macs", s) <= fraction]
        if not fits:
            with pytest.raises(BudgetError):
                small.within([Budget("macs", fraction)])
            continue
        best = min(predicted(small, s) for s in fits)
        found = small.within([Budget("macs", fraction)])
        assert predicted(small, found) == pytest.approx(best, abs=1e-9)


def _product(sizes: list[int]) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for size in sizes:
        found = [[*head, index] for head in found for index in range(size)]
    return found


def typed_back(error: BudgetError) -> list[Budget]:
    """The budgets that a hint names, as a user would type them."""
    found = re.findall(r"--(\w+) ([\d.]+)", error.hint or "")
    return [Budget.parse(quantity, text) for quantity, text in found]


@pytest.mark.parametrize(
    "asked",
    [
        {"macs": 0.01},
        {"params": 0.01},
        {"latency": 0.01},
        {"energy": 0.02},
        {"macs": 0.01, "params": 0.9},
        {"macs": 0.02, "params": 0.02},
        {"macs": 0.9, "params": 0.05, "latency": 0.3},
        {"macs": 0.5, "params": 0.05, "latency": 0.95, "energy": 0.3},
    ],
)
def test_an_impossible_budget_tells_the_nearest_that_can_be_met(
    plan: Planned, asked: dict[Quantity, float]
) -> None:
    budgets = [Budget(quantity, fraction) for quantity, fraction in asked.items()]
    with pytest.raises(BudgetError) as caught:
        plan.planner.within(budgets)
    assert caught.value.exit_code == 6
    for budget in budgets:
        assert str(budget) in caught.value.message
    reachable = typed_back(caught.value)
    assert [b.quantity for b in reachable] == list(asked)
    selection = plan.planner.within(reachable)
    for budget in reachable:
        assert plan.planner.costs.fraction(budget.quantity, selection) <= budget.fraction
        assert budget.fraction >= asked[budget.quantity]
        if len(reachable) == 1:
            assert budget.fraction <= plan.planner.smallest(budget.quantity) + 0.001


def test_a_layer_that_is_felt_more_keeps_more(plan: Planned) -> None:
    """The same candidates, weighed otherwise."""
    heavy = {name: (100.0 if name == "Conv_c" else 0.01) for name in plan.planner.weights}
    other = Planner(plan.planner.costs, heavy)
    chosen = other.within([Budget("macs", 0.6)])
    at = [row.name for row in chosen.rows].index("Conv_c")
    assert chosen.rows[at].candidates[chosen.chosen[at]].error == 0
    light = {name: (0.01 if name == "Conv_c" else 100.0) for name in plan.planner.weights}
    other = Planner(plan.planner.costs, light)
    chosen = other.within([Budget("macs", 0.6)])
    assert chosen.rows[at].candidates[chosen.chosen[at]].error > 0


def test_convolutions_without_a_row_stay_and_count() -> None:
    few = planned(network(), X, "basis")
    costs = Costs(few.planner.costs.rows[1:2], few.planner.costs.prices, few.whole)
    small = Planner(costs, few.planner.weights)
    assert small.smallest("macs") > 0.5
    with pytest.raises(BudgetError, match=r"comes down to --macs 0\.5"):
        small.within([Budget("macs", 0.5)])
    selection = small.within([Budget("macs", 0.8)])
    assert list(selection.steps) == ["Conv_c"]
    assert few.cost_of(selection).macs <= 0.8 * few.whole.macs


def test_all_families_together() -> None:
    every = planned(network(), X[:8], None, granule=4)
    for budgets in ([Budget("macs", 0.5)], [Budget("macs", 0.4), Budget("params", 0.4)]):
        selection = every.planner.within(budgets)
        left = every.cost_of(selection)
        for budget in budgets:
            assert of(left, budget.quantity) <= budget.fraction * of(every.whole, budget.quantity)
    alone = planned(network(), X[:8], "basis", granule=4)
    best = predicted(every.planner, every.planner.within([Budget("macs", 0.5)]))
    assert best < predicted(alone.planner, alone.planner.within([Budget("macs", 0.5)]))


def test_the_account_says_what_was_chosen_and_why(plan: Planned) -> None:
    budgets = [Budget("macs", 0.5)]
    selection = plan.planner.within(budgets)
    told = account(plan.planner, selection, budgets)
    assert told["predicted"]["macs"] == round(plan.planner.costs.fraction("macs", selection), 4)
    assert set(told["predicted"]) == {"macs", "params", "latency", "energy"}
    assert list(told["convolutions"]) == [row.name for row in plan.planner.costs.rows]
    for row, index in zip(selection.rows, selection.chosen, strict=True):
        entry = told["convolutions"][row.name]
        first, *others = entry["alternatives"]
        assert first["why"] == "chosen"
        assert (first["family"], first["options"]) == (
            row.candidates[index].family,
            row.candidates[index].options,
        )
        families = {candidate.family for candidate in row.candidates}
        assert len(others) + 1 in (len(families), len(families) + 1)
        assert {None} <= {alternative["family"] for alternative in entry["alternatives"]}
        for other in others:
            assert other["why"] != "chosen"
            if other["why"].startswith("dearer"):
                assert other["macs"] > first["macs"]
            elif other["why"].startswith("loses more"):
                assert other["error"] > first["error"]
            else:
                assert "costs no more and loses no more" in other["why"]


def test_one_candidate_of_each_row_is_chosen(plan: Planned) -> None:
    """Whichever of those of one family and cost it is."""
    for index in range(len(plan.planner.costs.rows[1].candidates)):
        chosen = [0, index, 0, 0]
        told = account(
            plan.planner, Selection(plan.planner.costs.rows, chosen), [Budget("macs", 0.5)]
        )
        first, *others = told["convolutions"]["Conv_c"]["alternatives"]
        candidate = plan.planner.costs.rows[1].candidates[index]
        assert (first["family"], first["options"]) == (candidate.family, candidate.options)
        assert first["why"] == "chosen"
        assert "chosen" not in [other["why"] for other in others]
        assert len({other["family"] for other in [first, *others]}) == 1 + len(others) == 3


def test_without_prices_time_and_energy_are_not_told(plan: Planned) -> None:
    bare = Planner(replace(plan.planner.costs, prices=None, _known={}), plan.planner.weights)
    budgets = [Budget("macs", 0.5)]
    told = account(bare, bare.within(budgets), budgets)
    assert told["prices"] is None
    assert set(told["predicted"]) == {"macs", "params"}
