"""float_biases: an INT32 bias of a quantised convolution becomes the floats that it stands for.

Before:  Conv(x, w, DequantizeLinear(b: INT32, s))            b: (O,), s: () or (O,)
After:   Conv(x, w, b * s)                                    float32
onnxruntime's quantiser writes biases so; TensorRT dequantises INT8 alone, and takes such a
network with a bias in float. Exact: it is DequantizeLinear's own arithmetic. Refuses a zero point,
and numbers that are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal, constant
from edgecc.graph import add_initializer, drop_initializer
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class FloatBiases(Pass):
    """Biases in INT32 become floats."""

    name: ClassVar[str] = "float_biases"
    room: ClassVar[Room] = "legalise"

    def run(self, model: ir.Model) -> list[Decision]:
        """Compute every DequantizeLinear of an INT32 constant."""
        decisions = []
        for node in list(model.graph.all_nodes()):
            source = node.inputs[0] if node.op_type == "DequantizeLinear" else None
            if node.domain != "" or source is None or source.dtype != ir.DataType.INT32:
                continue
            name = node.name or node.outputs[0].name or ""
            refusal = _compute(node)
            if refusal is None:
                decisions.append(Decision(name, self.name, note="computed"))
            else:
                decisions.append(Decision(name, self.name, refusal=str(refusal)))
        return decisions


def _compute(node: ir.Node) -> Refusal | None:
    """Put floats in place of the node, unless there is a reason not to."""
    numbers, scale = constant(node.inputs[0]), constant(node.inputs[1])
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    point = constant(zero)
    if numbers is None or scale is None or (zero is not None and point is None):
        return Refusal("its numbers are computed at run time")
    if point is not None and point.any():
        return Refusal("its zero point is not 0")
    if node.outputs[0].is_graph_output():
        return Refusal("it is an output")
    if numbers.ndim != 1 or scale.size not in (1, numbers.size):
        return Refusal("it is no list of numbers")
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        return Refusal("it stands in a function")
    floats = (numbers.astype(np.float32) * scale.reshape(-1)).astype(scale.dtype)
    made = add_initializer(graph, f"{node.outputs[0].name}.float", floats)
    ir.convenience.replace_all_uses_with(node.outputs[0], made)
    used = list(node.inputs)
    graph.remove(node, safe=True)
    for value in used:
        drop_initializer(graph, value)
    return None
