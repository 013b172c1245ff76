"""The least and largest number that a tensor of whole numbers can hold, from its constants on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from edgecc.conv import constant

Range: TypeAlias = "tuple[int, int]"
"""Both ends included."""
INT32: Range = (-(2**31), 2**31 - 1)
_WHOLE = {
    ir.DataType.BOOL: (0, 1),
    ir.DataType.INT8: (-(2**7), 2**7 - 1),
    ir.DataType.UINT8: (0, 2**8 - 1),
    ir.DataType.INT16: (-(2**15), 2**15 - 1),
    ir.DataType.UINT16: (0, 2**16 - 1),
    ir.DataType.INT32: INT32,
    ir.DataType.INT64: (-(2**63), 2**63 - 1),
}
"""What types hold; a result beyond that may be any of it."""


def ranges(model: ir.Model) -> dict[ir.Value, Range]:
    """Return the range of every value of whole numbers that has a known one."""
    found: dict[ir.Value, Range] = {}

    def of(value: ir.Value | None) -> Range | None:
        if value is not None and value not in found and (known := _given(value)) is not None:
            found[value] = known
        return None if value is None else found.get(value)

    for node in model.graph.all_nodes():
        given = [of(value) for value in node.inputs]
        rule = RULES.get(node.op_type) if node.domain == "" else None
        reached = rule(given) if rule else None
        for output in node.outputs:
            most = _WHOLE.get(output.dtype) if output.dtype is not None else None
            if reached is not None and most is not None:
                found[output] = reached if _within(reached, most) else most
    return found


def fits(known: Range | None) -> bool:
    """Return whether INT32 holds all of a range."""
    return known is not None and _within(known, INT32)


def _within(inner: Range, outer: Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _given(value: ir.Value) -> Range | None:
    """The range of a constant, or that of its type."""
    if value.dtype is None or value.dtype not in _WHOLE:
        return None
    array = constant(value)
    if array is None:
        return _WHOLE[value.dtype]
    return (int(np.min(array)), int(np.max(array))) if array.size else (0, 0)


def _hull(parts: Sequence[Range | None]) -> Range | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _corners(function: Callable[[int, int], int]) -> Callable[[list[Range | None]], Range | None]:
    """The rule of an operator of two numbers whose extremes lie at the ends of its inputs'."""

    def rule(inputs: list[Range | None]) -> Range | None:
        a, b = inputs
        if a is None or b is None:
            return None
        results = [function(x, y) for x, y in product(a, b)]
        return min(results), max(results)

    return rule


def _quotient(inputs: list[Range | None]) -> Range | None:
    a, b = inputs
    if a is None or b is None or b[0] <= 0 <= b[1]:
        return None
    most = max(map(abs, a)) // min(map(abs, b))
    return -most, most


def _remainder(inputs: list[Range | None]) -> Range | None:
    divisor = inputs[1]
    return None if divisor is None else (-max(map(abs, divisor)), max(map(abs, divisor)))


def _absolute(inputs: list[Range | None]) -> Range | None:
    given = inputs[0]
    return None if given is None else (0, max(map(abs, given)))


def _negative(inputs: list[Range | None]) -> Range | None:
    return None if inputs[0] is None else (-inputs[0][1], -inputs[0][0])


def _first(inputs: list[Range | None]) -> Range | None:
    return inputs[0]


_MOVES = {"Cast", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "Reshape", "Slice"}
_MOVES |= {"Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
"""Operators that put numbers elsewhere."""
RULES: dict[str, Callable[[list[Range | None]], Range | None]] = {
    **dict.fromkeys(sorted(_MOVES), _first),
    "Abs": _absolute,
    "Add": _corners(lambda x, y: x + y),
    "Concat": _hull,
    "Div": _quotient,
    "Max": _hull,
    "Min": _hull,
    "Mod": _remainder,
    "Mul": _corners(lambda x, y: x * y),
    "Neg": _negative,
    "Sub": _corners(lambda x, y: x - y),
    "Where": lambda inputs: _hull(inputs[1:]),
}
"""From the ranges of an operator's inputs to that of its outputs."""
