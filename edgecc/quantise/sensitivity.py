"""Which layers int8 hurts: each alone, and the fewest to keep in float for a loss that is allowed.

As NNCF does it (`quantize_with_accuracy_control`): layers are ranked by what goes wrong when each
alone computes in int8, and the worst are taken back until the whole is good enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgecc.quantise.qdq import layers, quantise
from edgecc.target import Tell

Damage = Callable[[Path], float]
"""What a form of the network loses, 0 being nothing: of a metric, or the error of its outputs."""


@dataclass(frozen=True)
class Kept:
    """The layers that stay in float32 or float16, and what is lost then."""

    names: tuple[str, ...]
    damage: float
    enough: bool
    """Whether that is as little as was allowed."""


def sensitivity(
    model: Path,
    ranges: Mapping[str, float],
    damage: Damage,
    scratch: Path,
    tell: Tell | None = None,
) -> dict[str, float]:
    """Return the damage of each layer alone in int8, the worst first."""
    names = layers(ir.load(model))
    found = {}
    for number, name in enumerate(names):
        if tell is not None:
            tell(f"{name} alone ({number + 1} of {len(names)})")
        others = [other for other in names if other != name]
        found[name] = damage(quantise(model, ranges, scratch / "alone.onnx", others).path)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def choose_kept(
    model: Path,
    ranges: Mapping[str, float],
    damage: Damage,
    most: float,
    ranked: Sequence[str],
    scratch: Path,
) -> Kept:
    """Return the layers to keep so that the damage is `most` at most: the first of `ranked`, as
    many as it takes (found by halving, as fewer in int8 lose less).
    """

    def tried(count: int) -> float:
        return damage(quantise(model, ranges, scratch / "kept.onnx", ranked[:count]).path)

    least = tried(0)
    if least <= most:
        return Kept((), least, enough=True)
    low, high, reached = 0, len(ranked), tried(len(ranked))
    if reached > most:
        return Kept(tuple(ranked), reached, enough=False)
    while high - low > 1:
        middle = (low + high) // 2
        lost = tried(middle)
        low, high = (low, middle) if lost <= most else (middle, high)
        reached = lost if lost <= most else reached
    return Kept(tuple(ranked[:high]), reached, enough=True)
