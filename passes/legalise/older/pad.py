"""Pad: axes as an input (opset 18), and the mode that wraps around (19)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal
from passes.legalise.older.emitter import Emitter, numbers, reads, sizes_of


def without_axes(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """Pads of every axis, 0 for those that were not named."""
    if not reads(node, 3):
        return None
    pads = _by_axis(node)
    if isinstance(pads, Refusal):
        return pads
    before, after = zip(*pads, strict=True)
    build.keep_inputs(3)
    build.set_input(1, np.array([*before, *after], np.int64))
    return "it names the pads of every axis"


def wrap(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """Wrapped around: the end in front of the beginning, and the beginning behind the end."""
    if node.attributes.get_string("mode", "constant") != "wrap":
        return None
    pads = _by_axis(node)
    if isinstance(pads, Refusal):
        return pads
    x, sizes = build.x, sizes_of(build.x) or []
    for axis, ((before, after), size) in enumerate(zip(pads, sizes, strict=True)):
        if size is None and (before or after):
            return Refusal("the size of what it wraps around is not known")
        if size is not None and not (0 <= before <= size and 0 <= after <= size):
            return Refusal(f"it wraps axis {axis} of {size} by {before} and {after}")
        if before or after:
            assert size is not None
            x = _wrapped(build, x, axis, size, before, after)
    build.replace_by(build.op("Identity", x) if x is build.x else x)
    return "Slice and Concat of what it wraps around"


def _wrapped(
    build: Emitter, x: ir.Value, axis: int, size: int, before: int, after: int
) -> ir.Value:
    parts = [x]
    if before:
        parts.insert(0, _slice(build, x, axis, size - before, size))
    if after:
        parts.append(_slice(build, x, axis, 0, after))
    return build.op("Concat", *parts, axis=axis)


def _slice(build: Emitter, x: ir.Value, axis: int, start: int, end: int) -> ir.Value:
    def one(number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([number], np.int64)

    return build.op("Slice", x, one(start), one(end), one(axis))


def _by_axis(node: ir.Node) -> Sequence[tuple[int, int]] | Refusal:
    """The pads in front and behind, of every axis."""
    sizes, pads, axes = sizes_of(node.inputs[0]), numbers(node, 1), numbers(node, 3)
    if sizes is None or pads is None or (axes is None and reads(node, 3)):
        return Refusal("its pads or axes are computed at run time, or its rank is not known")
    rank = len(sizes)
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    named = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    return [named.get(axis, (0, 0)) for axis in range(rank)]
