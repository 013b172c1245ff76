"""gemm_to_conv: a fully connected layer on a flattened map becomes a convolution on the map.

Before:  Gemm(Flatten(x), B, c)               x: (N, C, H, W), B: (C*H*W, O)
After:   Flatten(Conv<HxW>(x, B as (O, C, H, W), c))   (N, O, 1, 1), then (N, O)
Gemm, and MatMul with or without an Add of a constant, behind Flatten, Reshape or Squeeze.
Activations and a Softmax behind it, and further layers, go on with the map: the Flatten moves to
the end, so that a DLA, which has none, is left once. Exact but for the order of summing. Refuses
a layer whose input is no flattened map, whose weights are computed, and kernels above `kernel`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.builder import GraphBuilder
from edgecc.conv import Refusal, constant, ints, read
from edgecc.graph import drop_initializer
from edgecc.rewrite import Decision, Pass, Room, replace

MOVED = {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Elu", "HardSigmoid", "HardSwish"}
"""Activations that do on the map what they do on its numbers in a row."""
Map = tuple[int, int, int]
"""C, H, W."""


@dataclass
class _Flat:
    """What lies flattened in a value."""

    source: ir.Value
    sizes: Map
    made: bool = False
    """Whether this pass put it there."""


@dataclass(frozen=True)
class GemmToConv(Pass):
    """Fully connected layers become convolutions."""

    name: ClassVar[str] = "gemm_to_conv"
    room: ClassVar[Room] = "legalise"

    kernel: int = 32
    """The largest kernel that the target convolves with."""

    def run(self, model: ir.Model) -> list[Decision]:
        """Replace every fully connected layer of the main graph that reads a flattened map."""
        walk = _Walk(self)
        for node in list(model.graph):
            if node.domain == "" and node.graph is not None:
                walk.visit(node)
        walk.tidy()
        return walk.decisions


@dataclass
class _Walk:
    """One way through the graph, in its order."""

    by: GemmToConv
    flat: dict[ir.Value, _Flat] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def visit(self, node: ir.Node) -> None:
        """Note a Flatten, or put a node onto the map that it reads flattened."""
        x = node.inputs[0] if node.inputs else None
        if x is None:
            return
        if (sizes := _flattened(node)) is not None:
            self.flat[node.outputs[0]] = _Flat(x, sizes)
        elif node.op_type in ("Gemm", "MatMul"):
            self._layer(node)
        elif (found := self.flat.get(x)) is not None and found.made and _moves(node, found.sizes):
            self._move(node, found)

    def tidy(self) -> None:
        """Remove every Flatten that nothing reads any more."""
        for value in self.flat:
            node = value.producer()
            if node is None or value.uses() or value.is_graph_output() or node.graph is None:
                continue
            graph, inputs = node.graph, node.inputs[1:]
            graph.remove(node, safe=True)
            for each in inputs:
                drop_initializer(graph, each)

    def _layer(self, node: ir.Node) -> None:
        name = node.name or node.outputs[0].name or ""
        x = node.inputs[0]
        found = self.flat.get(x) if x is not None else None
        layer = _read(node) if found else Refusal("its input is no flattened map of known size")
        if found and not isinstance(layer, Refusal):
            layer = self._fits(layer, found.sizes) or layer
        if isinstance(layer, Refusal) or found is None:
            self.decisions.append(Decision(name, self.by.name, refusal=str(layer)))
            return
        weight, bias, last = layer
        build = GraphBuilder(node, made_by=str(self.by))
        kernel = weight.reshape(len(weight), *found.sizes)  # (O, C, H, W)
        value = build.conv(found.source, kernel, bias)
        batch = next(iter(found.source.shape or [None]))
        value.shape = ir.Shape([batch, len(weight), 1, 1])
        made = tuple(each.name or "" for each in build.nodes)
        flatten = _flatten(value, f"{made[0]}.flatten")
        replace(last, flatten.outputs[0], [*build.nodes, flatten])
        if last is not node:
            graph, inputs = node.graph, list(node.inputs)
            assert isinstance(graph, ir.Graph)
            graph.remove(node, safe=True)
            drop_initializer(graph, inputs[1])
        self.flat[flatten.outputs[0]] = _Flat(value, (len(weight), 1, 1), made=True)
        self.decisions.append(Decision(name, self.by.name, made=made))

    def _fits(self, layer: _Layer, sizes: Map) -> Refusal | None:
        if layer[0].shape[1] != math.prod(sizes):
            return Refusal("its weights are of another size than its input")
        if max(sizes[1:]) > self.by.kernel:
            return Refusal(f"its map is larger than a kernel of {self.by.kernel}")
        return None

    def _move(self, node: ir.Node, found: _Flat) -> None:
        """Let an activation read the map, and flatten behind it."""
        y = node.outputs[0]
        node.replace_input_with(0, found.source)
        if node.op_type == "Softmax":
            node.attributes.add(ir.AttrInt64("axis", 1))
        flatten = _flatten(y, f"{node.name or y.name}.flatten")
        flat = flatten.outputs[0]
        flat.name, flat.type, flat.shape = y.name, y.type, y.shape
        ir.convenience.replace_all_uses_with(y, flat, replace_graph_outputs=True)
        flatten.replace_input_with(0, y)
        y.name, y.shape = f"{flat.name}.map", found.source.shape
        assert node.graph is not None
        node.graph.insert_after(node, flatten)
        self.flat[flat] = _Flat(y, found.sizes, made=True)


_Layer = tuple[npt.NDArray[Any], npt.NDArray[Any] | None, ir.Node]
"""The weights (O, I), the bias (O,), and the last node of the layer."""


def _flatten(value: ir.Value, name: str) -> ir.Node:
    return ir.node("Flatten", [value], attributes={"axis": 1}, name=name)


def _moves(node: ir.Node, sizes: Map) -> bool:
    """Whether a node does the same on the map."""
    if node.op_type == "Softmax":
        return sizes[1:] == (1, 1) and node.attributes.get_int("axis", -1) in (1, -1)
    return node.op_type in MOVED and all(
        v is None or constant(v) is not None for v in node.inputs[1:]
    )


def _flattened(node: ir.Node) -> Map | None:
    """C, H and W where a node lays (N, C, H, W) out as (N, C*H*W)."""
    x, y = node.inputs[0], node.outputs[0]
    shape = list(x.shape or ()) if x is not None else []
    sizes = tuple(size for size in shape[1:] if isinstance(size, int))
    if len(shape) != 4 or len(sizes) != 3:
        return None
    if node.op_type == "Flatten" and node.attributes.get_int("axis", 1) in (1, -3):
        return sizes
    if node.op_type == "Squeeze" and sizes[1:] == (1, 1):
        given = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        axes = ints(node, "axes", []) if given is None else given.tolist()
        return sizes if sorted(axis % 4 for axis in axes) == [2, 3] else None
    if node.op_type == "Reshape":
        wanted = constant(node.inputs[1])
        rows = list(y.shape or ())
        same = (
            wanted is not None
            and len(wanted) == 2
            and (wanted[0] in (0, -1) or wanted[0] == shape[0])
        )
        return sizes if same and len(rows) == 2 and rows[1] == math.prod(sizes) else None
    return None


def _read(node: ir.Node) -> _Layer | Refusal:
    """A fully connected layer as numbers."""
    if node.op_type == "MatMul":
        weight = constant(node.inputs[1])
        if weight is None:
            return Refusal("its weights are computed at run time")
        if weight.dtype.kind != "f":
            return Refusal("its weights are no fractions")
        return (
            _with_bias(node, weight.T) if weight.ndim == 2 else Refusal("its weights are no matrix")
        )
    gemm = read(node)
    return gemm if isinstance(gemm, Refusal) else (gemm.weight, gemm.bias, node)


def _with_bias(node: ir.Node, rows: npt.NDArray[Any]) -> _Layer:
    """A MatMul, with the Add of a constant behind it where there is one."""
    y = node.outputs[0]
    uses = list(y.uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add" and not y.is_graph_output():
        add = uses[0].node
        other = add.inputs[1] if add.inputs[0] is y else add.inputs[0]
        bias = _row(other, len(rows))
        if bias is not None and add.graph is node.graph:
            return rows, bias, add
    return rows, None, node


def _row(value: ir.Value | None, count: int) -> npt.NDArray[Any] | None:
    """A constant as one number for each output; None where it is not that."""
    numbers = constant(value)
    if numbers is None or numbers.ndim > 2 or (numbers.ndim == 2 and numbers.shape[0] != 1):
        return None
    if numbers.size not in (1, count):
        return None
    return np.broadcast_to(numbers.ravel(), (count,)).copy()
