"""Pools: windows with holes (opset 19), and a last window that would lie in the padding alone (22).

Rounding up, older opsets count a window that starts behind the last number, newer ones do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgecc.conv import Refusal, ints
from passes.legalise.older.emitter import Emitter, sizes_of


def without_dilations(node: ir.Node, build: Emitter) -> Refusal | None:
    """Windows without holes."""
    if any(dilation != 1 for dilation in ints(node, "dilations", [])):
        return Refusal("its window has holes (dilations)")
    node.attributes.pop("dilations", None)
    return None


def as_before_22(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """Rounding down, with as much padding as the windows reach, where rounding up differs."""
    spatial = len(ints(node, "kernel_shape", []))
    if not node.attributes.get_int("ceil_mode", 0) or "auto_pad" in node.attributes:
        return None
    sizes = (sizes_of(build.x) or [None] * (spatial + 2))[2:]
    axes = _axes(node, spatial)
    if not any(axis.may_differ(size) for axis, size in zip(axes, sizes, strict=True)):
        return None
    known = [size for size in sizes if size is not None]
    if len(known) < spatial:
        return Refusal("its size says whether the last window lies in the padding alone")
    ends = [axis.reached(size) for axis, size in zip(axes, known, strict=True)]
    counting = node.attributes.get_int("count_include_pad", 0) == 1
    if counting and any(end > axis.end for end, axis in zip(ends, axes, strict=True)):
        return Refusal("it counts padding, and its last window would lie in the padding alone")
    pads = [*(axis.start for axis in axes), *ends]
    node.attributes.pop("ceil_mode")
    node.attributes.add(ir.AttrInt64s("pads", pads))
    return f"it rounds down, with pads {pads}"


@dataclass(frozen=True)
class _Axis:
    """A window along one axis."""

    reach: int
    stride: int
    start: int
    """Padding in front."""
    end: int

    def may_differ(self, size: int | None) -> bool:
        """Whether the last window may start behind the last number."""
        if size is None:
            return self.end > 0 or self.stride > self.reach
        return self._windows(size) * self.stride >= size + self.start

    def reached(self, size: int) -> int:
        """The padding at the end that the windows reach, but for such a last one."""
        last = self._windows(size) - (1 if self.may_differ(size) else 0)
        return max(0, last * self.stride + self.reach - size - self.start)

    def _windows(self, size: int) -> int:
        """How many windows come before the last, rounding up."""
        return -(-(size + self.start + self.end - self.reach) // self.stride)


def _axes(node: ir.Node, spatial: int) -> list[_Axis]:
    ones = [1] * spatial
    kernel, strides = ints(node, "kernel_shape", ones), ints(node, "strides", ones)
    dilations, pads = ints(node, "dilations", ones), ints(node, "pads", [0] * (2 * spatial))
    return [
        _Axis((k - 1) * d + 1, s, start, end)
        for k, d, s, start, end in zip(
            kernel, dilations, strides, pads[:spatial], pads[spatial:], strict=True
        )
    ]
