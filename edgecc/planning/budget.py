"""What the user wants: how small or fast, and how much worse it may get for that."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from edgecc.errors import UsageError, did_you_mean

Quantity = Literal["macs", "params", "latency", "energy"]
COUNTED: tuple[Quantity, ...] = ("macs", "params")
"""Counted on the operators."""
PRICED: tuple[Quantity, ...] = ("latency", "energy")
"""At the target's prices."""


@dataclass(frozen=True)
class Budget:
    """The largest fraction of a quantity of the original that may be left.

    Errors: `edgecc.errors.UsageError` for a fraction that is not above 0 and at most 1.
    """

    quantity: Quantity
    fraction: float

    def __post_init__(self) -> None:
        if self.quantity not in get_args(Quantity):
            raise UsageError(
                f"there is no budget for '{self.quantity}'",
                hint=did_you_mean(self.quantity, get_args(Quantity)),
            )
        if not 0 < self.fraction <= 1:
            raise UsageError(
                f"a budget of {self.fraction:g} for {self.quantity} is not above 0 and at most 1",
                hint="fractions of the original: 0.5 is half",
            )

    @classmethod
    def parse(cls, quantity: Quantity, text: str | float) -> Budget:
        """Read a fraction: `0.5`, `50%`. Errors: `edgecc.errors.UsageError`."""
        amount, percent = _number(text, f"the budget for {quantity}")
        return cls(quantity, amount / 100 if percent else amount)

    def __str__(self) -> str:
        return f"--{self.quantity} {self.fraction:g}"


@dataclass(frozen=True)
class Drop:
    """How much lower a metric may come out, higher being better.

    A number is in the metric's own units; with a percent sign it is in percentage points, of a
    metric in 0..1 (1 % is 0.01) or, if the original scores more than 1, in 0..100 (1 % is 1).
    """

    amount: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str | float) -> Drop:
        """Read `0.01`, `1%`. Errors: `edgecc.errors.UsageError`."""
        amount, percent = _number(text, "the drop")
        if amount < 0:
            raise UsageError(
                f"a drop of {text} is below 0", hint="0.01 or 1% lets a metric fall by that"
            )
        return cls(amount, percent)

    def allowed(self, original: float) -> float:
        """Return the drop in the metric's own units, where the original scores `original`.

        Errors: `edgecc.errors.UsageError` for percentage points of a metric outside 0..100.
        """
        if not self.percent:
            return self.amount
        if not 0 <= original <= 100:
            raise UsageError(
                f"a drop of {self} means nothing for a metric of {original:g}",
                hint="give it in the metric's own units, as a plain number",
            )
        return self.amount / 100 if original <= 1 else self.amount

    def __str__(self) -> str:
        return f"{self.amount:g}{'%' if self.percent else ''}"


@dataclass(frozen=True)
class Goal:
    """Everything that must hold at once."""

    budgets: tuple[Budget, ...] = ()
    max_error: float | None = None
    """RMS of what the outputs may move on the calibration samples, over their own RMS."""
    max_drop: Drop | None = None
    """The largest drop of the user's own metric."""

    @classmethod
    def parse(
        cls,
        *,
        macs: str | float | None = None,
        params: str | float | None = None,
        latency: str | float | None = None,
        energy: str | float | None = None,
        max_error: str | float | None = None,
        max_drop: str | float | None = None,
    ) -> Goal:
        """Read the options of the command line. Errors: `edgecc.errors.UsageError`."""
        given: dict[Quantity, str | float | None]
        given = {"macs": macs, "params": params, "latency": latency, "energy": energy}
        return cls(
            tuple(Budget.parse(name, text) for name, text in given.items() if text is not None),
            None if max_error is None else _share(max_error),
            None if max_drop is None else Drop.parse(max_drop),
        )

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) not in ((), None) for field in fields(self))

    @property
    def allows_loss(self) -> bool:
        """Whether rewritten networks have to be tried."""
        return self.max_error is not None or self.max_drop is not None

    def to_json(self) -> dict[str, float | str]:
        """Return plain data, by the names of the options."""
        told: dict[str, float | str] = {b.quantity: b.fraction for b in self.budgets}
        told |= {} if self.max_error is None else {"max_error": self.max_error}
        return told | ({} if self.max_drop is None else {"max_drop": str(self.max_drop)})

    def __str__(self) -> str:
        words = [str(budget) for budget in self.budgets]
        words += [] if self.max_error is None else [f"--max-error {self.max_error:g}"]
        words += [] if self.max_drop is None else [f"--max-drop {self.max_drop}"]
        return " ".join(words)


def _share(text: str | float) -> float:
    amount, percent = _number(text, "the largest error")
    share = amount / 100 if percent else amount
    if not 0 <= share <= 1:
        raise UsageError(
            f"an error of {text} is not within 0 and 1",
            hint="how far the outputs may move, over their own size: 0.1 is a tenth",
        )
    return share


def _number(text: str | float, of: str) -> tuple[float, bool]:
    """Read a number, and whether a percent sign stands behind it."""
    bare = str(text).strip()
    percent = bare.endswith("%")
    try:
        amount = float(bare.removesuffix("%"))
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise UsageError(f"{of} is '{text}', not a number", hint="as in 0.5, or 50%")
    return amount, percent
