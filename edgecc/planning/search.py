"""Finds the smallest network that is still good enough, by building and judging some."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgecc.errors import BudgetError
from edgecc.planning.budget import Budget
from edgecc.planning.costs import Selection
from edgecc.planning.planner import Planner

TRIALS = 6
"""Each halves what is between too small and good enough: 1/64 of the network at the end."""


@dataclass(frozen=True)
class Verdict:
    """Whether a rewritten network is good enough, and why in words and numbers."""

    accepted: bool
    told: str
    measured: Mapping[str, float] = field(default_factory=dict)
    """What was looked at: `error`, `metric`."""
    original: Mapping[str, float] = field(default_factory=dict)
    """The same of the network as it was, where that is not 0."""


@dataclass(frozen=True)
class Tried:
    """A network that was judged."""

    asked: float
    """The fraction that it was planned for."""
    reached: float
    """What is left, predicted."""
    verdict: Verdict


@dataclass(frozen=True)
class Outcome:
    """What was found, and by what trials."""

    selection: Selection
    quantity: str
    """What the fractions are of."""
    trials: tuple[Tried, ...]
    best: Tried | None = None
    """The trial that the selection was judged in; None where it is the network as it is."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the record."""
        original = self.trials[0].verdict.original if self.trials else {}
        best = self.best
        return {
            "quantity": self.quantity,
            "original": _finite(original),
            "reached": _numbers(best) if best else {"fraction": 1.0, **_finite(original)},
            "trials": [
                {"asked": round(t.asked, 4), **_numbers(t), "accepted": t.verdict.accepted}
                for t in self.trials
            ],
        }


def _numbers(tried: Tried) -> dict[str, float | None]:
    return {"fraction": round(tried.reached, 4), **_finite(tried.verdict.measured)}


def _finite(measured: Mapping[str, float]) -> dict[str, float | None]:
    """To six digits, as they are told; None for what is no number."""
    return {
        name: float(f"{value:.6g}") if math.isfinite(value) else None
        for name, value in measured.items()
    }


class _Trials:
    """Plans and judges, each network once."""

    def __init__(
        self,
        planner: Planner,
        budgets: Sequence[Budget],
        judge: Callable[[Selection], Verdict],
        tell: Callable[[str], None],
    ) -> None:
        self._planner, self._judge, self._tell = planner, judge, tell
        self._quantity, self._others = budgets[0].quantity, budgets[1:]
        self.known: dict[tuple[int, ...], Tried] = {}

    def __call__(self, fraction: float) -> tuple[Selection, Tried]:
        """Try a fraction. Errors: `edgecc.errors.BudgetError`."""
        selection = self._planner.within([Budget(self._quantity, fraction), *self._others])
        chosen = tuple(selection.chosen)
        if chosen not in self.known:
            verdict = self._judge(selection)
            reached = self._planner.costs.fraction(self._quantity, selection)
            self.known[chosen] = Tried(fraction, reached, verdict)
            verb = "accepted" if verdict.accepted else "refused"
            self._tell(f"{reached:.2f} of the {self._quantity} {verb}: {verdict.told}")
        return selection, self.known[chosen]


def smallest(
    planner: Planner,
    budgets: Sequence[Budget],
    judge: Callable[[Selection], Verdict],
    tell: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Return the selection of the smallest fraction of the first budget's quantity that `judge`
    accepts, within all budgets.

    Where the first leaves all of the network, the network as it is counts as accepted.
    Errors: `edgecc.errors.BudgetError` with the smallest fraction that was accepted.
    """
    within, quantity = budgets[0], budgets[0].quantity
    trial = _Trials(planner, budgets, judge, tell)
    low, high = planner.smallest(quantity), within.fraction
    best, reached, accepted = planner.within(budgets), None, True
    if any(budget.fraction < 1 for budget in budgets):
        best, reached = trial(high)
        accepted = reached.verdict.accepted
    if not accepted:
        low, high, reached = high, 1.0, None
    for _ in range(TRIALS if low < high else 0):
        fraction = (low + high) / 2
        try:
            selection, tried = trial(fraction)
        except BudgetError:
            low = fraction
            continue
        if tried.verdict.accepted:
            high, best, reached = min(fraction, tried.reached), selection, tried
        else:
            low = fraction
    if not accepted:
        told = reached.verdict.told if reached else "the network as it is"
        raise BudgetError(
            f"--{quantity} {within.fraction:g} cannot be met within the loss allowed",
            hint=f"--{quantity} {min(1.0, int(high * 1000 + 1) / 1000):g} can ({told})",
        )
    return Outcome(best, quantity, tuple(trial.known.values()), reached)
