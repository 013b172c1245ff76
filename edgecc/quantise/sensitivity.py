"""Which layers int8 hurts: each alone, and the fewest to keep in float for a loss that is allowed.

As NNCF does it (`quantize_with_accuracy_control`): layers are ranked by what goes wrong when each
alone computes in int8, and the worst are taken back until the whole is good enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecc.target import Tell

Lost = Callable[[Sequence[str]], float]
"""What the network in int8 loses (of a metric, or the error of its outputs; 0 is nothing) where
the layers of these names are kept in float."""


@dataclass(frozen=True)
class Kept:
    """The layers that stay in float32 or float16, and what is lost then."""

    names: tuple[str, ...]
    lost: float
    enough: bool
    """Whether that is as little as was allowed."""


def sensitivity(layers: Sequence[str], lost: Lost, tell: Tell | None = None) -> dict[str, float]:
    """Return what is lost by each of the layers alone in int8, the worst first."""
    found = {}
    for number, name in enumerate(layers):
        if tell is not None:
            tell(f"{name} alone in int8 ({number + 1} of {len(layers)})")
        found[name] = lost([other for other in layers if other != name])
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def choose_kept(ranked: Sequence[str], lost: Lost, most: float) -> Kept:
    """Return the layers to keep so that at most `most` is lost: the first of `ranked`, as many as
    it takes (found by halving, as fewer in int8 lose less).
    """
    whole = lost(())
    if whole <= most:
        return Kept((), whole, enough=True)
    low, high, reached = 0, len(ranked), lost(ranked)
    if reached > most:
        return Kept(tuple(ranked), reached, enough=False)
    while high - low > 1:
        middle = (low + high) // 2
        found = lost(ranked[:middle])
        low, high = (low, middle) if found <= most else (middle, high)
        reached = found if found <= most else reached
    return Kept(tuple(ranked[:high]), reached, enough=True)
