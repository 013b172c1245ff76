from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from edgecc.errors import BudgetError
from edgecc.planning.knapsack import Choice, Unreachable, choose, choose_all, frontier

Table = list[list[Choice]]


def instance(seed: int, constraints: int, layers: int, choices: int) -> tuple[list[Table], float]:
    """Tables as a network gives them (large and small layers, the first choice exact), ones of
    plain noise, and ones of whole numbers full of ties; with the fraction to cut them to.
    """
    random = np.random.default_rng(seed)
    shape = (layers, choices)
    if seed % 3 == 0:
        share = np.sort(random.uniform(0.1, 1.0, shape), axis=1)[:, ::-1]
        sizes = 10 ** random.uniform(0, 2, (constraints, layers, 1))
        costs = sizes * share * random.uniform(0.9, 1.1, (constraints, *shape))
        errors = np.exp(-random.uniform(2, 8, (layers, 1)) * share)
        errors[:, 0] = 0
    elif seed % 3 == 1:
        costs, errors = random.uniform(size=(constraints, *shape)), random.uniform(size=shape)
    else:
        costs = random.integers(0, 5, (constraints, *shape)).astype(float)
        errors = random.integers(0, 5, shape).astype(float)
    tables = [
        [[Choice(float(c), float(e)) for c, e in zip(*row, strict=True)] for row in rows]
        for rows in (zip(table, errors, strict=True) for table in costs)
    ]
    return tables, float(random.uniform(0.1, 0.9))


def limits_of(tables: list[Table], fraction: float) -> list[float]:
    low = [sum(min(c.cost for c in row) for row in table) for table in tables]
    high = [sum(max(c.cost for c in row) for row in table) for table in tables]
    return [a + fraction * (b - a) for a, b in zip(low, high, strict=True)]


def cost(table: Table, chosen: tuple[int, ...] | list[int]) -> float:
    return sum(row[q].cost for row, q in zip(table, chosen, strict=True))


def error(table: Table, chosen: tuple[int, ...] | list[int]) -> float:
    return sum(row[q].error for row, q in zip(table, chosen, strict=True))


def within(tables: list[Table], limits: list[float], chosen: tuple[int, ...] | list[int]) -> bool:
    pairs = zip(tables, limits, strict=True)
    return all(cost(table, chosen) <= limit * (1 + 1e-9) for table, limit in pairs)


def best(tables: list[Table], limits: list[float]) -> float | None:
    every = itertools.product(*(range(len(row)) for row in tables[0]))
    fits = [error(tables[0], chosen) for chosen in every if within(tables, limits, chosen)]
    return min(fits, default=None)


@pytest.mark.parametrize("seed", range(30))
def test_one_budget_is_spent_as_well_as_it_can_be(seed: int) -> None:
    tables, fraction = instance(seed, 1, layers=5, choices=5)
    limits = limits_of(tables, fraction)
    chosen = choose(tables[0], limits[0])
    assert within(tables, limits, chosen)
    assert error(tables[0], chosen) == pytest.approx(best(tables, limits), abs=1e-12)


@pytest.mark.parametrize("constraints", [2, 3, 4])
@pytest.mark.parametrize("seed", range(15))
def test_several_budgets_hold_together(seed: int, constraints: int) -> None:
    tables, fraction = instance(seed, constraints, layers=5, choices=5)
    limits = limits_of(tables, fraction)
    optimum = best(tables, limits)
    if optimum is None:
        with pytest.raises(Unreachable):
            choose_all(tables, limits)
        return
    chosen = choose_all(tables, limits)
    assert within(tables, limits, chosen)
    assert error(tables[0], chosen) <= 1.05 * optimum + 1e-12


@pytest.mark.parametrize("constraints", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_large_network(seed: int, constraints: int) -> None:
    tables, _ = instance(seed, constraints, layers=200, choices=100)
    limits = limits_of(tables, 0.4)
    start = time.process_time()
    chosen = choose_all(tables, limits)
    assert time.process_time() - start < 5.0  # 0.2 s on a quiet machine
    assert within(tables, limits, chosen)
    assert choose_all(tables, limits) == chosen
    multiplier = [0.0, *np.geomspace(1e-6, 1e3, 200)]
    if constraints == 1:  # Lagrange's bound
        bound = max(
            sum(min(c.error + m * c.cost for c in row) for row in tables[0]) - m * limits[0]
            for m in multiplier
        )
        assert error(tables[0], chosen) <= 1.01 * bound


def test_at_the_whole_budget_everything_stays() -> None:
    table = [[Choice(0.1 * n, 0.0), Choice(0.05, 0.5)] for n in range(1, 40)]
    whole = sum(row[0].cost for row in reversed(table))
    assert choose(table, whole) == [0] * 39


def test_at_the_smallest_budget_everything_is_cheapest() -> None:
    table = [[Choice(0.1 * n, 0.0), Choice(0.05, 0.5)] for n in range(1, 40)]
    assert choose(table, sum(row[1].cost for row in reversed(table))) == [1] * 39


def test_of_equals_the_first_and_of_errors_that_tie_the_cheaper() -> None:
    assert choose([[Choice(2, 1), Choice(2, 1)], [Choice(3, 0), Choice(1, 0)]], 10) == [0, 1]


def test_layers_without_cost_or_error() -> None:
    table = [[Choice(0, 0)], [Choice(0, 0.5), Choice(0, 0.25)], [Choice(1, 0)], [Choice(0, 0.1)]]
    assert choose(table, 1) == [0, 1, 0, 0]
    assert choose([[Choice(0, 0.3), Choice(1, 0)]], 0) == [0]
    assert choose([], 1) == []


def test_a_budget_out_of_reach_names_the_nearest() -> None:
    table = [[Choice(4, 0), Choice(3, 1)], [Choice(9, 0), Choice(2, 1)]]
    with pytest.raises(BudgetError, match=r"cost of 4 .* smallest reachable is 5$") as caught:
        choose(table, 4)
    assert isinstance(caught.value, Unreachable)
    assert caught.value.reachable == (5.0,)
    for limit in (0, -1):
        with pytest.raises(Unreachable) as caught:
            choose(table, limit)
        assert caught.value.reachable == (5.0,)


def test_budgets_that_exclude_each_other() -> None:
    macs = [[Choice(1, 0), Choice(9, 0)]]
    params = [[Choice(9, 0), Choice(1, 0)]]
    with pytest.raises(Unreachable) as caught:
        choose_all([macs, params], [4, 8])
    assert caught.value.reachable == (1.0, 9.0)


@pytest.mark.parametrize(
    "wrong",
    [Choice(float("nan"), 0), Choice(1, float("nan")), Choice(-1, 0), Choice(1, float("inf"))],
)
def test_what_is_no_number_is_refused(wrong: Choice) -> None:
    with pytest.raises(ValueError, match="layer 1, choice 2: "):
        choose([[Choice(1, 1)], [Choice(1, 1), Choice(2, 0), wrong]], 9)
    with pytest.raises(ValueError, match="layer 0 has no choice"):
        choose([[]], 1)


def test_why_a_choice_is_not_on_the_frontier() -> None:
    choices = [
        Choice(10, 0),
        Choice(5, 0.4),  # half-way, but for a little
        Choice(0, 0.6),
        Choice(6, 0.4),
        Choice(0, 0.6),
        Choice(12, 0),
    ]
    found = [(standing.status, standing.by) for standing in frontier(choices)]
    assert found == [
        ("frontier", ()),
        ("off the hull", (2, 0)),
        ("frontier", ()),
        ("dominated", (1,)),
        ("dominated", (2,)),
        ("dominated", (0,)),
    ]
    assert frontier([]) == []
