"""Finds the smallest network that is still good enough, by building and judging some."""

from __future__ import annotations

from collections.abc import Callable
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
    within: Budget,
    judge: Callable[[Selection], Verdict],
    tell: Callable[[str], None] = lambda text: None,
) -> Selection:
    """Return the selection of the smallest fraction of `within.quantity` that `judge` accepts.

    It has to be within the budget too. The network as it is counts as accepted.
    Errors: `edgecc.errors.BudgetError` with the smallest fraction that was accepted.
    """
    quantity = within.quantity
    low, high = planner.smallest(quantity), 1.0
    best, told = planner.within([]), "the network as it is"
    for _ in range(TRIALS):
        fraction = (low + high) / 2
        selection = planner.within([Budget(quantity, fraction)])
        verdict = judge(selection)
        reached = planner.fraction(quantity, selection)
        verb = "accepted" if verdict.accepted else "refused"
        tell(f"{reached:.2f} of the {quantity} {verb}: {verdict.told}")
        if verdict.accepted:
            high, best, told = min(fraction, reached), selection, verdict.told
        else:
            low = fraction
    if high > within.fraction:
        raise BudgetError(
            f"--{quantity} {within.fraction:g} cannot be met within the loss allowed",
            hint=f"--{quantity} {int(high * 1000 + 1) / 1000:g} can ({told})",
        )
    return best
