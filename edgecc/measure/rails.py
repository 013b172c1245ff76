"""Which rails a board's power is the sum of, and how finely each is told: from the board's data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
import numpy.typing as npt

from edgecc.errors import UsageError, did_you_mean
from edgecc.hardware import Power, Rail

TOTAL = "total"
COARSEST_MW = 8 * 19.0
"""A step where the board is not known: that of AGX Xavier, the coarsest of all."""
TOLERANCE = 0.02
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Meter:
    """What the rails of a log or a record mean.

    `total` is () where it would have no one meaning.
    """

    boards: tuple[str, ...]
    """The boards that have these rails; they agree on everything here."""
    rails: tuple[str, ...]
    """As they are printed."""
    total: tuple[str, ...]
    """Those whose sum is the board's power."""
    refused: str | None
    """Why there is no total."""
    step_mw: tuple[float, ...]
    """The smallest difference that each rail tells: the sensor's step times the supply."""
    tolerance: float
    """The sensors' gain error, a fraction."""

    @property
    def board(self) -> str | None:
        """The board, where there is only one that it can be."""
        return self.boards[0] if len(self.boards) == 1 else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The rails, and `total` where there is one."""
        return (*self.rails, TOTAL) if self.total else self.rails

    @property
    def steps_mw(self) -> Array:
        """The step of every column; the total's is that of its rails together."""
        of = dict(zip(self.rails, self.step_mw, strict=True))
        total = [hypot(*(of[rail] for rail in self.total))] if self.total else []
        return np.array([*self.step_mw, *total])

    def with_total(self, power_mw: Array) -> Array:
        """Return readings (samples, rails) with the total as one more column."""
        if not self.total:
            return power_mw
        of_total = [self.rails.index(rail) for rail in self.total]
        return np.column_stack([power_mw, power_mw[:, of_total].sum(axis=1)])

    def exceeded(self, power_mw: Array) -> int:
        """Return in how many samples (samples, rails) the parts are more than the one total rail.

        More than sensors can be wrong by: then a rail is not what its name says.
        """
        if len(self.total) != 1 or len(self.rails) < 2:
            return 0
        whole = power_mw[:, self.rails.index(self.total[0])]
        parts = power_mw.sum(axis=1) - whole
        wrong = self.tolerance * (abs(whole) + abs(parts)) + sum(self.step_mw)
        return int((parts > whole + wrong).sum())


def meter(printed: Sequence[str], boards: Mapping[str, Power], target: str | None = None) -> Meter:
    """Return what the rails `printed` mean on `target`, or on the board that they are found on.

    Errors: `edgecc.errors.UsageError` for a target without known sensors, or with other rails.
    """
    if target is not None:
        _check(printed, boards, target)
        return _as(printed, (target,), boards[target])
    known = {name: power for name, power in boards.items() if _known(printed, power)}
    whole = {name: power for name, power in known.items() if not _lacking(printed, power)}
    fitting = whole or known
    if not fitting:
        refused = f"no board that edgecc knows has the rails {', '.join(printed)}"
        steps = (COARSEST_MW,) * len(printed)
        return Meter((), tuple(printed), (), refused, steps, TOLERANCE)
    found = [_as(printed, tuple(fitting), power) for power in fitting.values()]
    if len({(one.total, one.refused) for one in found}) > 1:
        refused = f"these rails are found on {_words(fitting)}, which have other totals"
        return Meter(tuple(fitting), tuple(printed), (), refused, _coarsest(found), _widest(found))
    first = found[0]
    return Meter(
        _named_once(fitting), first.rails, first.total, first.refused,
        _coarsest(found), _widest(found),
    )  # fmt: skip


def _check(printed: Sequence[str], boards: Mapping[str, Power], target: str) -> None:
    if target not in boards:
        raise UsageError(
            f"nothing is known of the power sensors of {target}",
            hint=did_you_mean(target, boards),
        )
    own = boards[target].rails
    if not any(_of(name, own) for name in printed):
        names = ", ".join(rail.name for rail in own)
        others = _named_once(name for name, power in boards.items() if _known(printed, power))
        raise UsageError(
            f"{target} has the rails {names}; these are {', '.join(printed)}",
            hint=f"--target {others[0]} has them" if others else "leave --target away",
        )


def _as(printed: Sequence[str], names: tuple[str, ...], power: Power) -> Meter:
    """Read the rails as those of a board."""
    rails = [(name, _of(name, power.rails)) for name in printed]
    total = tuple(name for name, rail in rails if rail is not None and rail.in_total)
    refused = None
    if lacking := _lacking(printed, power):
        refused = f"the total needs {', '.join(lacking)}, which is not there"
        total = ()
    steps = tuple(power.step_ma * rail.volts if rail else COARSEST_MW for _, rail in rails)
    return Meter(names, tuple(printed), total, refused, steps, power.tolerance)


def _of(name: str, rails: Iterable[Rail]) -> Rail | None:
    return next((rail for rail in rails if name in (rail.name, *rail.aliases)), None)


def _known(printed: Sequence[str], power: Power) -> bool:
    return all(_of(name, power.rails) for name in printed)


def _lacking(printed: Sequence[str], power: Power) -> list[str]:
    """The rails that the total needs and that are not there."""
    there = {rail.name for name in printed if (rail := _of(name, power.rails))}
    return [name for name in power.total if name not in there]


def _coarsest(found: Sequence[Meter]) -> tuple[float, ...]:
    return tuple(max(steps) for steps in zip(*(one.step_mw for one in found), strict=True))


def _widest(found: Sequence[Meter]) -> float:
    return max(one.tolerance for one in found)


def _named_once(fitting: Iterable[str]) -> tuple[str, ...]:
    """The boards, without those that are the CPU alone of one that is there too."""
    names = tuple(fitting)
    return tuple(name for name in names if name.removesuffix("-cpu") == name or
                 name.removesuffix("-cpu") not in names)  # fmt: skip


def _words(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
