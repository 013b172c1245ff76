"""Finds the smallest network that is still good enough, by building and judging some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecc.errors import BudgetError
from edgecc.planning.budget import Budget
from edgecc.planning.planner import Planner, Selection

TRIALS = 6
"""Each halves what is between too small and good enough: 1/64 of the network at the end."""


@dataclass(frozen=True)
class Verdict:
    """Whether a rewritten network is good enough, and why in words."""

    accepted: bool
    told: str


def smallest(
    planner: Planner,
    budgets: Sequence[Budget],
    judge: Callable[[Selection], Verdict],
    tell: Callable[[str], None] = lambda text: None,
) -> Selection:
    """Return the selection of the smallest fraction of the first budget's quantity that `judge`
    accepts, within all budgets.

    Where the first leaves all of the network, the network as it is counts as accepted.
    Errors: `edgecc.errors.BudgetError` with the smallest fraction that was accepted.
    """
    within, *others = budgets
    quantity, known = within.quantity, {}

    def tried(fraction: float) -> tuple[Selection, bool]:
        selection = planner.within([Budget(quantity, fraction), *others])
        chosen = tuple(selection.chosen)
        if chosen not in known:
            known[chosen] = verdict = judge(selection)
            verb = "accepted" if verdict.accepted else "refused"
            reached = planner.fraction(quantity, selection)
            tell(f"{reached:.2f} of the {quantity} {verb}: {verdict.told}")
        return selection, known[chosen].accepted

    low, high = planner.smallest(quantity), within.fraction
    best, accepted, told = planner.within(budgets), True, "the network as it is"
    if any(budget.fraction < 1 for budget in budgets):
        best, accepted = tried(high)
    goal = high if accepted else 1.0
    low, high = (low, goal) if accepted else (high, goal)
    for _ in range(TRIALS):
        fraction = (low + high) / 2
        try:
            selection, good = tried(fraction)
        except BudgetError:
            good = False
        if good:
            high, best = min(fraction, planner.fraction(quantity, selection)), selection
            told = known[tuple(selection.chosen)].told
        else:
            low = fraction
    if not accepted:
        raise BudgetError(
            f"--{quantity} {within.fraction:g} cannot be met within the loss allowed",
            hint=f"--{quantity} {min(1.0, int(high * 1000 + 1) / 1000):g} can ({told})",
        )
    return best
