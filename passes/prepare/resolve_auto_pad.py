"""resolve_auto_pad: SAME_UPPER, SAME_LOWER and VALID become explicit pads.

Before:  Conv<auto_pad=SAME_UPPER, strides=[2, 2]>(x)      x: (N, C, 224, 224), kernel 3x3
After:   Conv<pads=[0, 0, 1, 1], strides=[2, 2]>(x)
Conv, MaxPool, AveragePool and LpPool. Exact. Refuses SAME where a stride is above 1 and the size
of the input is not known (the pads depend on it), and ConvTranspose (its SAME is about the
output's size, and every target reads it).
onnxscript has such a rule; it forgets the dilations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from edgecc.conv import ints
from edgecc.rewrite import Decision, Pass, Room

_WINDOWED = {"Conv", "MaxPool", "AveragePool", "LpPool"}


@dataclass(frozen=True)
class ResolveAutoPad(Pass):
    """Pads in words become pads in numbers."""

    name: ClassVar[str] = "resolve_auto_pad"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Resolve every window operator of the main graph."""
        decisions = []
        for node in model.graph:
            mode = node.attributes.get_string("auto_pad", "NOTSET")
            if node.op_type in _WINDOWED and node.domain == "" and mode != "NOTSET":
                decisions.append(self._resolve(node, mode))
        return decisions

    def _resolve(self, node: ir.Node, mode: str) -> Decision:
        name = node.name or ""
        x = node.inputs[0]
        window = _kernel(node)
        if x is None or x.shape is None or window is None:
            return Decision(name, self.name, refusal="its input has no known shape")
        if node.op_type != "Conv" and max(ints(node, "dilations", [1])) > 1 and mode != "VALID":
            return Decision(name, self.name, refusal="runtimes disagree on SAME with dilations")
        pads = _pads(node, mode, window, list(x.shape)[2:])
        if pads is None:
            return Decision(name, self.name, refusal=f"{mode} on a size that is not known")
        node.attributes.pop("auto_pad")
        node.attributes.add(ir.AttrInt64s("pads", pads))
        return Decision(name, self.name, note=f"{mode} is pads {pads}")


def _kernel(node: ir.Node) -> list[int] | None:
    """The window, from the attribute or the weights."""
    weight = node.inputs[1] if node.op_type == "Conv" else None
    if weight is not None and weight.shape is not None and weight.shape.is_static():
        return [int(size) for size in list(weight.shape)[2:] if isinstance(size, int)]
    return ints(node, "kernel_shape", []) or None


def _pads(
    node: ir.Node, mode: str, window: list[int], sizes: list[int | ir.SymbolicDim]
) -> list[int] | None:
    """ONNX's rule: the output is ceil(size / stride) wide; an odd pad goes up or down."""
    if mode == "VALID":
        return [0] * (2 * len(window))
    strides = ints(node, "strides", [1] * len(window))
    dilations = ints(node, "dilations", [1] * len(window))
    totals = []
    for size, kernel, stride, dilation in zip(sizes, window, strides, dilations, strict=True):
        reach = (kernel - 1) * dilation + 1
        if stride == 1:
            totals.append(reach - 1)
        elif isinstance(size, int):
            totals.append(max(0, (-(-size // stride) - 1) * stride + reach - size))
        else:
            return None
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return less + more if mode == "SAME_UPPER" else more + less
