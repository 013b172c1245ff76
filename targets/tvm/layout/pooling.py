"""Rules for pooling and for means over whole maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from targets.tvm.compute.pooling import pooled, shares
from targets.tvm.compute.window import Window
from targets.tvm.layout.blocked import Blocked, Joined
from targets.tvm.layout.converter import Converter
from targets.tvm.relax_values import sizes


def pool(convert: Converter, call: Any) -> Blocked | Joined | None:
    """`max_pool2d` and `avg_pool2d` of float32."""
    shape, made, attrs = sizes(call.args[0]), sizes(call), call.attrs
    parts = convert.parts(call.args[0])
    given = None if parts else convert.blocked(call.args[0])
    if shape is None or made is None or attrs.layout != "NCHW":
        return None
    window = Window.of(attrs, [int(size) for size in attrs.pool_size])
    how, counts = "max", []
    if call.op.name == "relax.nn.avg_pool2d":
        padding = bool(attrs.count_include_pad)
        table = shares(window, (shape[2], shape[3]), (made[2], made[3]), padding=padding)
        how, counts = "sum", [convert.constant(table)]
    if parts is not None:
        pools = (_pooled(convert, part, window, made[2:], how, *counts) for part in parts)
        return Joined(tuple(pools))
    if given is None:
        given = convert.pack(call.args[0], *convert.layout(shape[1]))
    return _pooled(convert, given, window, made[2:], how, *counts)


def whole_map(convert: Converter, call: Any) -> Blocked | None:
    """`mean`, `sum` and `max` over height, width or both, which stay as sizes of 1; or over both
    of them, which leaves (N, C)."""
    given, shape = convert.blocked(call.args[0]), sizes(call.args[0])
    axes = {int(axis) % 4 for axis in call.attrs.axis or ()}
    if given is None or shape is None or given.flat or not axes or not axes <= {2, 3}:
        return None
    flat = not call.attrs.keepdims
    if flat and axes != {2, 3}:
        return None
    high, wide = (shape[axis] if axis in axes else 1 for axis in (2, 3))
    window = Window((high, wide), (1, 1), (1, 1), (0, 0, 0, 0))
    outputs = window.outputs(*shape[2:])
    if call.op.name == "relax.max":
        return replace(_pooled(convert, given, window, outputs, "max"), flat=flat)
    counts = []
    if call.op.name == "relax.mean":
        table = shares(window, (shape[2], shape[3]), outputs, padding=False)
        counts = [convert.constant(table)]
    return replace(_pooled(convert, given, window, outputs, "sum", *counts), flat=flat)


def _pooled(
    convert: Converter, given: Blocked, window: Window, outputs: Any, how: str, *counts: Any
) -> Blocked:
    options = {"window": window, "outputs": tuple(outputs), "how": how, "core": convert.core}
    return given.like(convert.emit(convert.te(pooled, given.value, *counts, **options)))
