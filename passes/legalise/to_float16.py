"""to_float16: the network computes in half precision; its inputs and outputs stay as they are.

Before:  x: float32 -> Conv(float32 weights) -> Softmax -> y: float32
After:   x: float32 -> Cast -> Conv(float16 weights) -> Cast -> Softmax -> y: float32
For engines that take each operator's type from the model (strongly typed networks). Not exact:
float16 has eleven bits, so a well-scaled CNN moves by about 1e-3 of its largest output.
Stays in float32: operators whose sums or powers leave float16's range (`KEPT`), those that ONNX
gives no float16, subgraphs, and what reads a constant beyond 65504; each is reported.
Refuses a quantised network: engines look for its scales between operators, not behind casts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_ir as ir

from edgecc.graph import add_initializer, drop_initializer
from edgecc.rewrite import Decision, Pass, Room

HALF, FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT
LARGEST = 65504.0
KEPT = frozenset(
    {
        *("Softmax", "LogSoftmax", "Softplus", "Exp", "Log", "Pow", "CumSum", "Range"),
        *("InstanceNormalization", "GroupNormalization", "LayerNormalization", "LRN"),
        *("LpNormalization", "MeanVarianceNormalization", "LpPool", "GlobalLpPool"),
        *("ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
        *("ReduceLogSum", "ReduceLogSumExp"),
        *("Constant", "ConstantOfShape", "EyeLike", "RandomNormal", "RandomUniform"),
    }
)
"""Operators that compute, or make constants, in float32."""


@dataclass(frozen=True)
class ToFloat16(Pass):
    """Single precision inside the network becomes half precision."""

    name: ClassVar[str] = "to_float16"
    room: ClassVar[Room] = "legalise"
    exact: ClassVar[bool] = False

    def run(self, model: ir.Model) -> list[Decision]:
        """Narrow what may be narrow, with casts between it and the rest."""
        graph, nodes = model.graph, list(model.graph.all_nodes())
        whole = graph.name or "graph"
        if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in nodes):
            return [Decision(whole, self.name, refusal="it is quantised")]
        opset = model.opset_imports.get("", 0)
        kept = {node: reason for node in graph if (reason := _refusal(node, opset))}
        kept |= dict.fromkeys(set(nodes) - set(graph), "within a subgraph")
        casts = _Casts(opset)
        for node in nodes:
            if node not in kept:
                casts.narrow(node)
        for node in nodes:
            casts.connect(node, narrow=node not in kept)
        for each in model.graphs():
            casts.widen_outputs(each)
        if not casts.narrowed:
            return []
        found = Counter(kept.values())
        note = f"{len(nodes) - len(kept)} operators compute in float16"
        note += "".join(f"; {count} in float32: {reason}" for reason, count in found.items())
        return [Decision(whole, self.name, note=note)]


class _Casts:
    """What became float16, and the casts between it and the rest."""

    def __init__(self, opset: int) -> None:
        self.narrowed: set[ir.Value] = set()
        self._opset = opset
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def narrow(self, node: ir.Node) -> None:
        """Let a node write float16 where it wrote float32."""
        for value in node.outputs:
            if value.dtype == FLOAT:
                value.dtype = HALF
                self.narrowed.add(value)
                if node.op_type == "Cast":
                    node.attributes.add(ir.AttrInt64("to", int(HALF)))

    def connect(self, node: ir.Node, *, narrow: bool) -> None:
        """Let a node read float16, or float32 where it is kept or its input has no other type."""
        schema = onnx.defs.get_schema(node.op_type, self._opset, "") if narrow else None
        for index, value in enumerate(node.inputs):
            if value is None or not (value.dtype == FLOAT or value in self.narrowed):
                continue
            wanted = HALF if schema and _takes_half(schema.inputs, index) else FLOAT
            if value.dtype != wanted:
                node.replace_input_with(index, self._of(value, wanted))
                drop_initializer(value.graph, value) if value.graph is not None else None

    def widen_outputs(self, graph: ir.Graph) -> None:
        """Give the outputs of a graph their type back; the names stay."""
        for index, value in enumerate(graph.outputs):
            if value not in self.narrowed:
                continue
            name = value.name
            value.name = f"{name}.half"
            cast = ir.node("Cast", [value], attributes={"to": int(FLOAT)}, name=f"{name}.widen")
            wide = cast.outputs[0]
            wide.name, wide.dtype, wide.shape = name, FLOAT, value.shape
            graph.append(cast)
            graph.outputs[index] = wide

    def _of(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """A value in another type, made once for all of its readers."""
        if (value, dtype) not in self._made:
            constant = dtype == HALF and value.is_initializer() and not value.is_graph_input()
            self._made[value, dtype] = _half(value) if constant else _cast(value, dtype)
        return self._made[value, dtype]


def _refusal(node: ir.Node, opset: int) -> str | None:
    """Why an operator stays in float32; None where it need not."""
    if node.domain != "" or not onnx.defs.has(node.op_type, opset, ""):
        return f"{node.op_type} is not ONNX's"
    if node.op_type in KEPT:
        return node.op_type
    kinds = {each.type for each in node.attributes.values()}
    if kinds & {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}:
        return f"{node.op_type} has subgraphs"
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    floats = [index for index, value in enumerate(node.outputs) if value.dtype == FLOAT]
    if not all(_takes_half(schema.outputs, index) for index in floats):
        return f"{node.op_type} has no float16"
    constants = [value.const_value for value in node.inputs if value is not None]
    for tensor in constants:
        if tensor is not None and tensor.dtype == FLOAT:
            numbers = np.abs(tensor.numpy())
            largest = numbers.max(initial=0, where=np.isfinite(numbers))
            if largest > LARGEST:
                return f"{node.op_type} with a constant of {largest:.3g}"
    return None


def _takes_half(formals: Sequence[onnx.defs.OpSchema.FormalParameter], index: int) -> bool:
    """Whether an input or output may be float16; the last one may stand for many."""
    return "tensor(float16)" in formals[min(index, len(formals) - 1)].types


def _half(value: ir.Value) -> ir.Value:
    """The float16 form of a constant."""
    graph, tensor = value.graph, value.const_value
    assert isinstance(graph, ir.Graph)
    assert tensor is not None
    return add_initializer(graph, f"{value.name}.half", tensor.numpy().astype(np.float16))


def _cast(value: ir.Value, dtype: ir.DataType) -> ir.Value:
    """A cast right behind what makes `value`."""
    word = "half" if dtype == HALF else "wide"
    cast = ir.node("Cast", [value], attributes={"to": int(dtype)}, name=f"{value.name}.{word}.cast")
    made = cast.outputs[0]
    made.name, made.dtype, made.shape = f"{value.name}.{word}", dtype, value.shape
    producer = value.producer()
    graph = value.graph
    assert isinstance(graph, ir.Graph)
    if producer is None:
        graph.insert_before(graph[0], cast)
    else:
        graph.insert_after(producer, cast)
    return made
