"""What became of a network's functions: which have a schedule of ours, and how much has none."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from targets.tvm.compute.winograd import OUTPUTS
from targets.tvm.relax_values import calls_of

SCALAR = 16
"""What has no schedule computes one number where the rest computes a vector of about so many."""
SHARE = 0.01
"""Of a network's operations, so weighted: more than this is worth a note,"""
LEAST = 10_000
"""if they are more than a trifle, as a softmax over classes is."""


@dataclass(frozen=True)
class Account:
    """Functions count once, operations and convolutions as often as they are called."""

    functions: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    """Operations of what has no schedule of ours, by the names of its operators."""
    operations: int = 0
    """Numbers computed or summed up in one run of the network."""
    winograd: Mapping[str, int] = field(default_factory=dict)
    """How many convolutions are computed by F(outputs, taps)."""

    @classmethod
    def of(cls, main: Any, functions: Mapping[Any, Any], left: Iterable[Any]) -> Account:
        """Count `functions` (unscheduled, by their global variables) as the Relax function `main`
        calls them; those in `left` have no schedule.
        """
        calls, unscheduled = calls_of(main), set(left)
        operations = {v: _operations(f) * max(calls[v], 1) for v, f in functions.items()}
        found: Counter[str] = Counter()
        winograd: Counter[str] = Counter()
        for variable, function in functions.items():
            if variable in unscheduled:
                found[readable(variable.name_hint)] += operations[variable]
            for form in _forms(function):
                winograd[form] += max(calls[variable], 1)
        return cls(len(functions), found, sum(operations.values()), winograd)

    def __add__(self, other: Account) -> Account:
        return Account(
            self.functions + other.functions,
            Counter(self.left) + Counter(other.left),
            self.operations + other.operations,
            Counter(self.winograd) + Counter(other.winograd),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "functions": self.functions,
            "left_to_tvm": sorted(self.left),
            "winograd": dict(sorted(self.winograd.items())),
        }

    def notes(self) -> list[str]:
        """Return what a user should know, in a sentence."""
        heavy = [
            name
            for name, count in sorted(self.left.items(), key=lambda item: -item[1])
            if count >= LEAST and SCALAR * count >= SHARE * self.operations
        ]
        if not heavy:
            return []
        return [f"without a schedule of edgecc's, so perhaps slow: {', '.join(heavy)}"]


def readable(name: str) -> str:
    """Return the name that TVM gave to a function without what says nothing: `add_softmax` of
    `fused_add3_tir_softmax12`."""
    return re.sub(r"\d+(?=_|$)|(?<![^_])(fused|tir)_", "", name).strip("_") or name


def _blocks(function: Any) -> list[Any]:
    from tvm import s_tir
    from tvm_ffi import structural_walk

    found: list[Any] = []
    structural_walk(function.body, (s_tir.SBlock, found.append))
    return [block for block in found if len(block.iter_vars)]


def _operations(function: Any) -> int:
    """Return how often the bodies of a function's blocks run; of loops without blocks, the size of
    its largest operand."""
    if blocks := _blocks(function):
        return sum(_product(axis.dom.extent for axis in block.iter_vars) for block in blocks)
    return max(_product(getattr(operand.ty, "shape", ())) for operand in function.params)


def _product(sizes: Iterable[Any]) -> int:
    """Return the product of `sizes`; one that is known when the network runs counts 1."""
    return math.prod(int(size) for size in sizes if hasattr(size, "value"))


def _forms(function: Any) -> Iterator[str]:
    for block in _blocks(function):
        if (outputs := block.annotations.get(OUTPUTS)) is not None:
            m, q = (int(size) for size in outputs)
            taps = "x".join("3" if size > 1 else "1" for size in (m, q))
            yield f"F({m}x{q}, {taps})"
