"""Chooses for every convolution what it becomes: the least that the output feels, in the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgecc.cost import Cost
from edgecc.errors import BudgetError
from edgecc.layers import Layer
from edgecc.planning.beam import ROUNDING
from edgecc.planning.budget import Budget
from edgecc.planning.knapsack import Choice, Unreachable, choose_all
from edgecc.planning.prices import Prices
from edgecc.planning.storage import Storage
from edgecc.planning.table import Candidate, Row
from edgecc.rewrite import ConvRewrite

ATTEMPTS = 5
"""How often the limit is moved until what producers are spared fits the budget."""


CONVEXITY = 10.0


def felt(error: float) -> float:
    """Return what the loss of a share of a convolution's energy is taken for.

    More than in proportion: a plan that starves a few convolutions is worse than the sum of their
    errors, which are measured one by one (METHODS E.4).
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
    prices: Prices | None
    """None where nothing is known of the target's time and energy, and nobody asks."""
    whole: Cost
    """The network as it is, with what is not in the rows."""
    feeds: Mapping[str, str] = field(default_factory=dict)
    """By convolution the one that it alone reads: channels left out in the one go in the other."""
    macs: Mapping[str, int] = field(default_factory=dict)
    """By convolution, what it takes as it is, with the batch that the network has."""
    storage: Storage = field(default_factory=Storage)
    """Weights that convolutions share, and biases that the re-fit adds."""
    _costs: dict[str, list[list[float]]] = field(default_factory=dict)

    def within(self, budgets: Sequence[Budget]) -> Selection:
        """Return the selection of least weighted error within all budgets.

        Errors: `edgecc.errors.BudgetError` with the nearest budget that can be met.
        """
        readings = self._readings([budget.quantity for budget in budgets])
        tried = [planner._attempt(budgets) for planner in readings]
        found = [each for each in tried if isinstance(each, Selection)]
        as_it_is = Selection(self.rows, [0] * len(self.rows))
        if all(self.fraction(b.quantity, as_it_is) <= b.fraction + ROUNDING for b in budgets):
            found.append(as_it_is)
        if not found:
            raise next(each for each in tried if isinstance(each, BudgetError))
        return min(found, key=self._loss)

    def _readings(self, quantities: Sequence[str]) -> list[Planner]:
        """How weights that are shared may be counted, the reading that reaches less first."""
        if "params" not in quantities:
            return [self]
        found = [replace(self, storage=each, _costs={}) for each in self.storage.readings()]
        return sorted(found, key=lambda planner: planner._smallest("params"))

    def _attempt(self, budgets: Sequence[Budget]) -> Selection | BudgetError:
        try:
            return self._within(budgets)
        except BudgetError as error:
            return error

    def _within(self, budgets: Sequence[Budget]) -> Selection:
        """Do as `within`, shared weights counted in one way."""
        slack = [1.0] * len(budgets)
        best: Selection | None = None
        impossible: BudgetError | None = None
        try:
            best = self._select(budgets, slack, credited=False)
        except BudgetError as error:
            impossible = error
        counted = bool(budgets) and all(b.quantity in ("macs", "params") for b in budgets)
        for _ in range(ATTEMPTS if counted and self._prunes else 0):
            try:
                found = self._select(budgets, slack, credited=True)
            except BudgetError:
                break
            reached = [self.fraction(b.quantity, found) / b.fraction for b in budgets]
            fits = max(reached) <= 1.0
            if fits and (best is None or self._loss(found) < self._loss(best)):
                best = found
            slack = [s / r if r > 0 else s for s, r in zip(slack, reached, strict=True)]
        if best is None:
            assert impossible is not None
            raise impossible
        return best

    def _select(
        self, budgets: Sequence[Budget], slack: Sequence[float], *, credited: bool
    ) -> Selection:
        """The knapsack, with limits `slack` times those of the budgets."""
        tables = [self._choices(b, credited=credited) for b in budgets]
        limits = [self._limit(b, s) for b, s in zip(budgets, slack, strict=True)]
        try:
            if min(limits, default=0.0) < 0:
                smallest = [sum(min(c.cost for c in row) for row in table) for table in tables]
                raise Unreachable(limits, smallest)
            chosen = choose_all(tables, limits) if budgets else [0] * len(self.rows)
        except Unreachable as error:
            raise self._impossible(budgets, error.reachable) from None
        return Selection(self.rows, chosen)

    @property
    def _prunes(self) -> bool:
        """Whether any candidate leaves out channels that another convolution need not compute."""
        rows = (row for row in self.rows if row.name in self.feeds)
        return any(c.reads < 1 for row in rows for c in row.candidates)

    def _loss(self, selection: Selection) -> float:
        pairs = zip(self.rows, selection.chosen, strict=True)
        return sum(self.weights.get(r.name, 1.0) * felt(r.candidates[i].error) for r, i in pairs)

    def _saved(self, quantity: str, selection: Selection) -> float:
        """What producers are spared, as their readers leave out channels."""
        pairs = zip(self.rows, selection.chosen, strict=True)
        chosen = {row.name: row.candidates[index] for row, index in pairs}
        return sum(
            (1 - reader.reads) * self.cost(quantity, chosen[self.feeds[name]].last)
            for name, reader in chosen.items()
            if reader.reads < 1 and self.feeds.get(name) in chosen
        )

    def fraction(self, quantity: str, selection: Selection) -> float:
        """What a selection leaves of a quantity, predicted, as a fraction of the original."""
        pairs = list(zip(self.rows, selection.chosen, strict=True))
        if quantity == "params":
            chosen = [(row, row.candidates[index]) for row, index in pairs]
            left = float(self.storage.left(self.whole.params, chosen))
        else:
            costs = zip(self._cost(quantity), selection.chosen, strict=True)
            left = sum(row[index] for row, index in costs) + self._rest(quantity)
        return self._ratio(quantity, left - self._saved(quantity, selection))

    def smallest(self, quantity: str) -> float:
        """The smallest fraction of a quantity that any selection reaches."""
        return min(1.0, self._readings([quantity])[0]._smallest(quantity))

    def _smallest(self, quantity: str) -> float:
        spent = sum(min(row) for row in self._cost(quantity))
        return self._ratio(quantity, spent + self._rest(quantity))

    def _ratio(self, quantity: str, left: float) -> float:
        """The fraction that is left; of nothing, all."""
        before = self._before(quantity)
        return left / before if before else 1.0

    def cost(self, quantity: str, layers: Sequence[Layer]) -> float:
        """What operators cost, in the unit of the quantity."""
        if quantity == "macs":
            return float(sum(layer.macs for layer in layers))
        if quantity == "params":
            return float(sum(layer.params for layer in layers))
        if self.prices is None:
            raise ValueError(f"the target has no prices for {quantity}")
        price = self.prices.latency_ms if quantity == "latency" else self.prices.energy_mj
        return price(layers)

    def _choices(self, budget: Budget, *, credited: bool) -> list[list[Choice]]:
        """Costs and weighted errors; credited with what a producer would be spared that has
        itself come down to the budget.
        """
        quantity = budget.quantity
        dense = {
            row.name: cost[0] for row, cost in zip(self.rows, self._cost(quantity), strict=True)
        }
        spared = {
            row.name: budget.fraction * dense.get(self.feeds.get(row.name, ""), 0.0) * credited
            for row in self.rows
        }
        return [
            [
                Choice(
                    max(0.0, cost - (1 - candidate.reads) * spared[row.name]),
                    self.weights.get(row.name, 1.0) * felt(candidate.error),
                )
                for cost, candidate in zip(costs, row.candidates, strict=True)
            ]
            for row, costs in zip(self.rows, self._cost(quantity), strict=True)
        ]

    def _cost(self, quantity: str) -> list[list[float]]:
        if quantity not in self._costs:
            self._costs[quantity] = [
                [self._price(quantity, row, candidate) for candidate in row.candidates]
                for row in self.rows
            ]
        return self._costs[quantity]

    def _price(self, quantity: str, row: Row, candidate: Candidate) -> float:
        if quantity == "params" and candidate.rewrite is None:
            return float(self.storage.kept(row.name, candidate.params))
        return self._times(quantity, row) * self.cost(quantity, candidate.layers)

    def _times(self, quantity: str, row: Row) -> float:
        """How many samples a convolution sees for each of the network's inputs."""
        once = row.candidates[0].macs
        return self.macs.get(row.name, once) / once if quantity == "macs" and once else 1.0

    def _before(self, quantity: str) -> float:
        if quantity == "macs":
            return float(self.whole.macs)
        if quantity == "params":
            return float(self.whole.params)
        return sum(row[0] for row in self._cost(quantity))

    def _rest(self, quantity: str) -> float:
        """What is not in the rows, and stays."""
        if quantity == "params":
            return float(self.storage.rest(self.whole.params, self.rows))
        return self._before(quantity) - sum(row[0] for row in self._cost(quantity))

    def _limit(self, budget: Budget, slack: float = 1.0) -> float:
        if not self._before(budget.quantity):
            return 0.0 if budget.fraction == 1 else -1.0  # of nothing there is no part
        return slack * budget.fraction * self._before(budget.quantity) - self._rest(budget.quantity)

    def _impossible(self, budgets: Sequence[Budget], reachable: Sequence[float]) -> BudgetError:
        """Say what could be met instead, rounded up to what can be typed."""
        asked = ", ".join(f"--{b.quantity} {b.fraction:g}" for b in budgets)
        nearest = []
        for budget, cost in zip(budgets, reachable, strict=True):
            fraction = self._ratio(budget.quantity, cost + self._rest(budget.quantity))
            nearest.append(f"--{budget.quantity} {min(1.0, int(fraction * 1000 + 1) / 1000):g}")
        return BudgetError(
            f"no rewrite of this network comes down to {asked}",
            hint=f"the nearest that can be reached is {' '.join(nearest)}",
        )
