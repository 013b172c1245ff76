"""pads_to_concat: channels of zeros are put beside the others, instead of padded.

Before:  Pad(x, [0,2,0,0, 0,2,0,0])                           x: (N, C, H, W)
After:   Concat<axis=1>(zeros, x, zeros)                      (N, 2 + C + 2, H, W)
TensorRT 7 pads the last two dimensions alone; the short cuts of a ResNet for CIFAR-10 pad
channels. Exact. Refuses other values than 0, pads of several dimensions or of the last two,
crops, and an input whose sizes are not all known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal
from edgecc.graph import add_initializer
from edgecc.rewrite import Decision, Pass, Room, replace
from passes.prepare.fold_pad import zero_pads


@dataclass(frozen=True)
class PadsToConcat(Pass):
    """Pads of channels become a Concat."""

    name: ClassVar[str] = "pads_to_concat"
    room: ClassVar[Room] = "legalise"

    def run(self, model: ir.Model) -> list[Decision]:
        """Replace every Pad that pads one dimension, before the last two."""
        decisions = []
        for node in list(model.graph.all_nodes()):
            if node.domain != "" or node.op_type != "Pad":
                continue
            name = node.name or node.outputs[0].name or ""
            made = _concat(node)
            if isinstance(made, Refusal):
                decisions.append(Decision(name, self.name, refusal=str(made)))
                continue
            replace(node, made.outputs[0], [made])
            decisions.append(Decision(name, self.name, note="Pad is a Concat with zeros"))
        return decisions


def _concat(node: ir.Node) -> ir.Node | Refusal:
    pads = zero_pads(node)
    if isinstance(pads, Refusal):
        return pads
    begins, ends = pads
    padded = [a for a, both in enumerate(zip(begins, ends, strict=True)) if any(both)]
    x, graph = node.inputs[0], node.graph
    if len(padded) != 1 or padded[0] >= len(begins) - 2:
        return Refusal("it pads other dimensions than the channels alone")
    axis = padded[0]
    if min(begins[axis], ends[axis]) < 0:
        return Refusal("it crops")
    sizes = [size for size in (x.shape or ()) if isinstance(size, int)] if x is not None else []
    if x is None or len(sizes) < len(begins) or not isinstance(graph, ir.Graph):
        return Refusal("the sizes of its input are not all known")
    stem = f"{node.name or node.outputs[0].name}.zeros"
    before, behind = (
        _zeros(graph, stem, x, [*sizes[:axis], count, *sizes[axis + 1 :]])
        for count in (begins[axis], ends[axis])
    )
    parts = [*before, x, *behind]
    return ir.node("Concat", parts, attributes={"axis": axis}, name=f"{node.name}.concat")


def _zeros(graph: ir.Graph, name: str, like: ir.Value, sizes: Sequence[int]) -> list[ir.Value]:
    """Zeros of `sizes`; none where a size is 0."""
    dtype: Any = (like.dtype or ir.DataType.FLOAT).numpy()
    return [add_initializer(graph, name, np.zeros(sizes, dtype))] if all(sizes) else []
