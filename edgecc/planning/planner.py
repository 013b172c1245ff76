"""Chooses for every convolution what it becomes: the least that the output feels, in the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgecc.cost import Cost
from edgecc.errors import BudgetError
from edgecc.planning.budget import Budget
from edgecc.planning.knapsack import Choice, Unreachable, choose_all
from edgecc.planning.prices import Prices
from edgecc.planning.table import Candidate, Row
from edgecc.rewrite import ConvRewrite

UNITS = {"macs": "multiply-adds", "params": "parameters", "latency": "ms", "energy": "mJ"}


CONVEXITY = 10.0


def felt(error: float) -> float:
    """Return what the loss of a share of a convolution's energy is taken for.

    More than in proportion: the re-fit repairs small losses everywhere better than a large one
    somewhere, and a plan that starves a few convolutions is worse than its sum (METHODS E.4).
    """
    return error + CONVEXITY * error**2


@dataclass(frozen=True)
class Selection:
    """One candidate of each row."""

    rows: Sequence[Row]
    chosen: Sequence[int]

    @property
    def steps(self) -> dict[str, ConvRewrite | None]:
        """The rewrite of each convolution, None where it stays as it is."""
        pairs = zip(self.rows, self.chosen, strict=True)
        return {row.name: row.candidates[index].rewrite for row, index in pairs}


@dataclass
class Planner:
    """The candidates of a network, what they cost on a target, and how the output feels them."""

    rows: Sequence[Row]
    weights: Mapping[str, float]
    """By convolution, what the loss of all its output's energy would cost."""
    prices: Prices
    whole: Cost
    """The network as it is, with what is not in the rows."""
    _costs: dict[str, list[list[float]]] = field(default_factory=dict)

    def within(self, budgets: Sequence[Budget]) -> Selection:
        """Return the selection of least weighted error within all budgets.

        Errors: `edgecc.errors.BudgetError` with the nearest budget that can be met.
        """
        tables = [self._choices(budget.quantity) for budget in budgets]
        limits = [self._limit(budget) for budget in budgets]
        try:
            if min(limits, default=0.0) < 0:
                smallest = [sum(min(c.cost for c in row) for row in table) for table in tables]
                raise Unreachable(limits, smallest)
            chosen = choose_all(tables, limits) if budgets else [0] * len(self.rows)
        except Unreachable as error:
            raise self._impossible(budgets, error.reachable) from None
        return Selection(self.rows, chosen)

    def fraction(self, quantity: str, selection: Selection) -> float:
        """What a selection leaves of a quantity, predicted, as a fraction of the original."""
        costs = self._cost(quantity)
        spent = sum(row[index] for row, index in zip(costs, selection.chosen, strict=True))
        return (spent + self._rest(quantity)) / (self._before(quantity) or 1.0)

    def smallest(self, quantity: str) -> float:
        """The smallest fraction of a quantity that any selection reaches."""
        spent = sum(min(row) for row in self._cost(quantity))
        return (spent + self._rest(quantity)) / (self._before(quantity) or 1.0)

    def cost(self, quantity: str, candidate: Candidate) -> float:
        """What a candidate costs, in the unit of the quantity."""
        if quantity == "macs":
            return float(candidate.macs)
        if quantity == "params":
            return float(candidate.params)
        price = self.prices.latency_ms if quantity == "latency" else self.prices.energy_mj
        return price(candidate.layers)

    def _choices(self, quantity: str) -> list[list[Choice]]:
        return [
            [
                Choice(cost, self.weights.get(row.name, 1.0) * felt(candidate.error))
                for cost, candidate in zip(costs, row.candidates, strict=True)
            ]
            for row, costs in zip(self.rows, self._cost(quantity), strict=True)
        ]

    def _cost(self, quantity: str) -> list[list[float]]:
        if quantity not in self._costs:
            self._costs[quantity] = [
                [self.cost(quantity, candidate) for candidate in row.candidates]
                for row in self.rows
            ]
        return self._costs[quantity]

    def _before(self, quantity: str) -> float:
        if quantity == "macs":
            return float(self.whole.macs)
        if quantity == "params":
            return float(self.whole.params)
        return sum(row[0] for row in self._cost(quantity))

    def _rest(self, quantity: str) -> float:
        """What is not in the rows, and stays."""
        return self._before(quantity) - sum(row[0] for row in self._cost(quantity))

    def _limit(self, budget: Budget) -> float:
        return budget.fraction * self._before(budget.quantity) - self._rest(budget.quantity)

    def _impossible(self, budgets: Sequence[Budget], reachable: Sequence[float]) -> BudgetError:
        """Say what could be met instead, rounded up to what can be typed."""
        asked = ", ".join(f"--{b.quantity} {b.fraction:g}" for b in budgets)
        nearest = []
        for budget, cost in zip(budgets, reachable, strict=True):
            fraction = (cost + self._rest(budget.quantity)) / (self._before(budget.quantity) or 1)
            nearest.append(f"--{budget.quantity} {min(1.0, int(fraction * 1000 + 1) / 1000):g}")
        return BudgetError(
            f"no rewrite of this network comes down to {asked}",
            hint=f"the nearest that can be reached is {' '.join(nearest)}",
        )
