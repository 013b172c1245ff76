"""widen_float16: a float16 or bfloat16 network becomes float32 inside; its inputs and outputs stay.

Before:  x: float16 -> Conv(float16 weights) -> y: float16
After:   x: float16 -> Cast -> Conv(float32 weights) -> Cast -> y: float16
Not to the last bit: float32 keeps what float16 would have rounded between two operators. All
rewriting and checking happens in float32; what precision the device computes in is the target's
choice. Most CPUs convert every float16 operand and are slower by it. The weights take twice the
space until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecc.rewrite import Decision, Pass, Room

_NARROW = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_WIDE = ir.DataType.FLOAT
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


@dataclass(frozen=True)
class WidenFloat16(Pass):
    """Half precision inside the network becomes single precision."""

    name: ClassVar[str] = "widen_float16"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Widen every tensor, then cast at the inputs and outputs."""
        graph = model.graph
        narrow_inputs = [(v, v.dtype) for v in graph.inputs if v.dtype in _NARROW]
        narrow_outputs = [(i, v.dtype) for i, v in enumerate(graph.outputs) if v.dtype in _NARROW]
        widened = [_widen_graph(g) for g in model.graphs()]
        if not any(widened):
            return []
        for value, dtype in narrow_inputs:
            _cast_input(graph, value, dtype)
        for index, dtype in narrow_outputs:
            _cast_output(graph, index, dtype)
        return [Decision(graph.name or "graph", self.name, note=f"{sum(widened)} values widened")]


def _widen_graph(graph: ir.Graph) -> int:
    """Widen every value and type attribute of one graph; return how many values."""
    values = list(graph.inputs)
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype in _NARROW:
            wide = ir.tensor(tensor.numpy().astype(np.float32), name=value.name)
            value.const_value = wide
            values.append(value)
    for node in graph:
        values += node.outputs
        _widen_attributes(node)
    narrow = [value for value in values if value.dtype in _NARROW]
    for value in narrow:
        value.dtype = _WIDE
    return len(narrow)


def _widen_attributes(node: ir.Node) -> None:
    for name in _TYPE_ATTRIBUTES:
        if node.attributes.get_int(name, 0) in _NARROW:
            node.attributes.add(ir.AttrInt64(name, int(_WIDE)))
    value = node.attributes.get("value")
    if value is not None and value.type == ir.AttributeType.TENSOR:
        tensor = value.as_tensor()
        if tensor.dtype in _NARROW:
            wide = ir.tensor(tensor.numpy().astype(np.float32))
            node.attributes.add(ir.AttrTensor("value", wide))


def _cast_input(graph: ir.Graph, value: ir.Value, dtype: ir.DataType | None) -> None:
    users = list(value.uses())
    assert dtype is not None
    value.dtype = dtype
    cast = ir.node("Cast", [value], attributes={"to": int(_WIDE)}, name=f"{value.name}.widen")
    wide = cast.outputs[0]
    wide.name, wide.dtype, wide.shape = f"{value.name}.wide", _WIDE, value.shape
    for user in users:
        user.node.replace_input_with(user.idx, wide)
    if graph.num_nodes():
        graph.insert_before(graph[0], cast)
    else:
        graph.append(cast)


def _cast_output(graph: ir.Graph, index: int, dtype: ir.DataType | None) -> None:
    wide = graph.outputs[index]
    if wide.is_graph_input() or dtype is None:
        return
    name = wide.name
    wide.name = f"{name}.wide"
    cast = ir.node("Cast", [wide], attributes={"to": int(dtype)}, name=f"{name}.narrow")
    narrow = cast.outputs[0]
    narrow.name, narrow.dtype, narrow.shape = name, dtype, wide.shape
    graph.append(cast)
    graph.outputs[index] = narrow
