"""count_pads: an average pool without pads says that it counts them, which changes nothing.

Before:  AveragePool<count_include_pad=0, pads=[0,0,0,0]>(x)
After:   AveragePool<count_include_pad=1, pads=[0,0,0,0]>(x)
Xavier's DLA averages with the pads counted alone. Exact. Refuses a pool that has pads, or that has
them in words, and one whose last window is rounded up beyond the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from edgecc.conv import Refusal, ints
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class CountPads(Pass):
    """An average pool without pads counts them."""

    name: ClassVar[str] = "count_pads"
    room: ClassVar[Room] = "legalise"

    def run(self, model: ir.Model) -> list[Decision]:
        """Set the attribute wherever it makes no difference."""
        decisions = []
        for node in model.graph.all_nodes():
            if node.domain != "" or node.op_type != "AveragePool":
                continue
            if node.attributes.get_int("count_include_pad", 0):
                continue
            name = node.name or node.outputs[0].name or ""
            if (refusal := _matters(node)) is not None:
                decisions.append(Decision(name, self.name, refusal=str(refusal)))
                continue
            node.attributes.add(ir.AttrInt64("count_include_pad", 1))
            decisions.append(Decision(name, self.name, note="its pads, none, are counted"))
        return decisions


def _matters(node: ir.Node) -> Refusal | None:
    """Why counting the pads would change the average."""
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return Refusal("its pads are in words")
    if any(ints(node, "pads", [0])):
        return Refusal("it has pads, and does not count them")
    if node.attributes.get_int("ceil_mode", 0) and not _fits(node):
        return Refusal("its last window may lie beyond the input")
    return None


def _fits(node: ir.Node) -> bool:
    """Whether the windows end where the input ends."""
    x = node.inputs[0]
    kernel = ints(node, "kernel_shape", [])
    sizes = list(x.shape or ())[2:] if x is not None else []
    strides = ints(node, "strides", [1] * len(kernel))
    return len(sizes) == len(kernel) and all(
        isinstance(size, int) and (size - k) % stride == 0
        for size, k, stride in zip(sizes, kernel, strides, strict=True)
    )
