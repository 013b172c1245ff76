"""Clip, Min, Max and Pow of whole numbers, which they took from opset 12 on."""

from __future__ import annotations

import onnx_ir as ir

from edgecc.conv import constant
from passes.legalise.older.emitter import Emitter, reads

_FLOATS = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE}


def clip(node: ir.Node, build: Emitter) -> str | None:
    """The larger of x and the lower limit, then the smaller of that and the upper one."""
    if build.x.dtype in _FLOATS:
        return None
    value = build.x
    for index, kind in ((1, "Max"), (2, "Min")):
        limit = node.inputs[index] if reads(node, index) else None
        if limit is not None:
            value = _chosen(build, kind, value, limit)
    build.replace_by(build.op("Identity", value) if value is build.x else value)
    return "Less, Greater and Where"


def extreme(node: ir.Node, build: Emitter) -> str | None:
    """The smallest or largest, two by two."""
    if build.x.dtype in _FLOATS:
        return None
    value = build.x
    for other in node.inputs[1:]:
        if other is not None:
            value = _chosen(build, node.op_type, value, other)
    build.replace_by(build.op("Identity", value) if value is build.x else value)
    return "Less, Greater and Where"


def power(node: ir.Node, build: Emitter) -> str | None:
    """The exponent in the type of the base."""
    exponent, dtype = node.inputs[1], build.x.dtype
    if exponent is None or dtype is None or exponent.dtype == dtype:
        return None
    given = constant(exponent)
    build.set_input(
        1, build.cast(exponent, dtype) if given is None else given.astype(dtype.numpy())
    )
    return "its exponent has the type of its base"


def _chosen(build: Emitter, kind: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """The smaller of both for "Min", the larger for "Max"."""
    test = "Less" if kind == "Min" else "Greater"
    first = build.op(test, x, y, dtype=ir.DataType.BOOL)
    return build.op("Where", first, x, y, dtype=x.dtype)
