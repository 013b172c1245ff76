"""Chooses for every convolution what it becomes: the least that the output feels, in the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgecc.errors import BudgetError
from edgecc.planning.beam import ROUNDING
from edgecc.planning.budget import COUNTED, Budget
from edgecc.planning.costs import Costs, Selection
from edgecc.planning.knapsack import Choice, Unreachable, choose_all

ATTEMPTS = 5
"""How often the limit is moved until what producers are spared fits the budget."""
BISECTIONS, EASED = 10, 1.01
"""Steps to the factor by which budgets that cannot be met together are eased; and how much more
each is, where the search misses what only just fits."""
CONVEXITY = 10.0
"""On ResNet-20 at a third of the multiply-adds 3 and 10 give 89.8 % of the images right, 0 88.2 %;
on SRMD at half of them 10 gives 47.7 dB."""


def felt(error: float) -> float:
    """Return what the loss of a share of a convolution's energy is taken for.

    More than in proportion: a plan that starves a few convolutions is worse than the sum of their
    errors, which are measured one by one (METHODS E.4).
    """
    return error + CONVEXITY * error**2


@dataclass(frozen=True)
class Planner:
    """The candidates of a network, priced, and how the output feels what they lose."""

    costs: Costs
    weights: Mapping[str, float]
    """By convolution, what the loss of all its output's energy would cost."""

    def within(self, budgets: Sequence[Budget]) -> Selection:
        """Return the selection of least weighted error within all budgets.

        Errors: `edgecc.errors.BudgetError` with the nearest budget that can be met.
        """
        found = self._tried(budgets)
        if isinstance(found, _Impossible):
            met = found.near if len(budgets) == 1 else self._near(budgets)
            raise _refusal(budgets, met)
        return found

    def _near(self, budgets: Sequence[Budget]) -> list[Budget]:
        """Budgets that can be met together: those that are in the way eased in proportion."""
        best = Selection(self.costs.rows, [0] * len(self.costs.rows))
        low, high = 1.0, 1 / min(budget.fraction for budget in budgets)
        for _ in range(BISECTIONS):
            middle = (low * high) ** 0.5
            found = self._tried([_eased(budget, budget.fraction * middle) for budget in budgets])
            if isinstance(found, Selection):
                best, high = found, middle
            else:
                low = middle
        met = [_eased(budget, self.costs.fraction(budget.quantity, best)) for budget in budgets]
        while isinstance(self._tried(met), _Impossible):  # it may miss what only just fits
            met = [_eased(budget, budget.fraction * EASED) for budget in met]
        return met

    def _tried(self, budgets: Sequence[Budget]) -> Selection | _Impossible:
        """Do as `within`; where nothing is, return what comes near."""
        readings = self.costs.readings([budget.quantity for budget in budgets])
        tried = [Planner(costs, self.weights)._attempt(budgets) for costs in readings]
        found = [each for each in tried if isinstance(each, Selection)]
        as_it_is = Selection(self.costs.rows, [0] * len(self.costs.rows))
        if all(self.costs.fraction(b.quantity, as_it_is) <= b.fraction + ROUNDING for b in budgets):
            found.append(as_it_is)
        if not found:
            return next(each for each in tried if isinstance(each, _Impossible))
        return min(found, key=self._loss)

    def smallest(self, quantity: str) -> float:
        """The smallest fraction of a quantity that any selection reaches."""
        return min(1.0, self.costs.readings([quantity])[0].smallest(quantity))

    def _attempt(self, budgets: Sequence[Budget]) -> Selection | _Impossible:
        try:
            return self._within(budgets)
        except _Impossible as error:
            return error

    def _within(self, budgets: Sequence[Budget]) -> Selection:
        """Do as `within`, shared weights counted in one way."""
        slack = [1.0] * len(budgets)
        best: Selection | None = None
        impossible: _Impossible | None = None
        try:
            best = self._select(budgets, slack, credited=False)
        except _Impossible as error:
            impossible = error
        counted = bool(budgets) and all(b.quantity in COUNTED for b in budgets)
        for _ in range(ATTEMPTS if counted and self.costs.prunes else 0):
            try:
                found = self._select(budgets, slack, credited=True)
            except _Impossible:
                break
            reached = [self.costs.fraction(b.quantity, found) / b.fraction for b in budgets]
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
        limits = [self.costs.limit(b, s) for b, s in zip(budgets, slack, strict=True)]
        try:
            if min(limits, default=0.0) < 0:
                smallest = [sum(min(c.cost for c in row) for row in table) for table in tables]
                raise Unreachable(limits, smallest)
            chosen = choose_all(tables, limits) if budgets else [0] * len(self.costs.rows)
        except Unreachable as error:
            raise self._impossible(budgets, error.reachable) from None
        return Selection(self.costs.rows, chosen)

    def _loss(self, selection: Selection) -> float:
        pairs = zip(selection.rows, selection.chosen, strict=True)
        return sum(self.weights.get(r.name, 1.0) * felt(r.candidates[i].error) for r, i in pairs)

    def _choices(self, budget: Budget, *, credited: bool) -> list[list[Choice]]:
        """Costs and weighted errors; credited with what a producer would be spared that has
        itself come down to the budget.
        """
        rows, costs = self.costs.rows, self.costs.by_candidate(budget.quantity)
        spared = self.costs.spared(budget.quantity, budget.fraction * credited)
        return [
            [
                Choice(
                    max(0.0, cost - (1 - candidate.reads) * spared[row.name]),
                    self.weights.get(row.name, 1.0) * felt(candidate.error),
                )
                for cost, candidate in zip(each, row.candidates, strict=True)
            ]
            for row, each in zip(rows, costs, strict=True)
        ]

    def _impossible(self, budgets: Sequence[Budget], reachable: Sequence[float]) -> _Impossible:
        costs, near = self.costs, []
        for budget, cost in zip(budgets, reachable, strict=True):
            fraction = costs.ratio(budget.quantity, cost + costs.rest(budget.quantity))
            near.append(_eased(budget, fraction))
        return _Impossible(near)


class _Impossible(Exception):  # noqa: N818  (nobody sees it)
    """No selection is within the budgets."""

    def __init__(self, near: list[Budget]) -> None:
        super().__init__(near)
        self.near = near
        """Each at what comes near to all."""


def _eased(budget: Budget, fraction: float) -> Budget:
    """The budget, or if that is more so much, rounded up to what can be typed."""
    typed = min(1.0, int(fraction * 1000 + 1) / 1000)
    return replace(budget, fraction=max(budget.fraction, typed))


def _refusal(budgets: Sequence[Budget], met: Sequence[Budget]) -> BudgetError:
    asked, nearest = (
        [f"--{budget.quantity} {budget.fraction:g}" for budget in each] for each in (budgets, met)
    )
    return BudgetError(
        f"no rewrite of this network comes down to {', '.join(asked)}",
        hint=f"the nearest that can be reached is {' '.join(nearest)}",
    )
