"""How a legalisation says what stands in a node's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.builder import MADE_BY, ORIGIN
from edgecc.conv import Refusal, constant
from edgecc.graph import add_initializer, drop_initializer, fresh_name, take_over

Operand: TypeAlias = "ir.Value | npt.NDArray[Any] | None"
"""What an operator reads: a value, numbers that become an initialiser, or nothing."""
Number: TypeAlias = "float | Sequence[float]"


@dataclass(frozen=True, eq=False)
class Emitter:
    """Makes nodes in front of the one that they replace, named and stamped after it."""

    node: ir.Node
    opset: int
    """The opset that the new nodes are for."""
    made_by: str
    names: set[str]
    """All names of the model."""

    @property
    def x(self) -> ir.Value:
        """The node's first input."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    def op(
        self, kind: str, *inputs: Operand, dtype: ir.DataType | None = None, **attributes: Any
    ) -> ir.Value:
        """Add a node of one output; its type is `dtype`, or that of the first input."""
        name = fresh_name(f"{self.node.name}.{kind.lower()}", self.names)
        values = [self._value(operand, name) for operand in inputs]
        made = ir.node(kind, values, attributes=attributes, name=name)
        root = self.node.metadata_props.get(ORIGIN, self.node.name or "")
        made.metadata_props.update({ORIGIN: root, MADE_BY: self.made_by})
        output: ir.Value = made.outputs[0]
        output.name = fresh_name(f"{name}.out", self.names)
        first = values[0] if values else None
        output.type = ir.TensorType(dtype) if dtype else first.type if first else None
        self._graph.insert_before(self.node, made)
        return output

    def reduce(self, kind: str, x: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Add a reduction that keeps its axes: an input from opset 18 on (sums: 13)."""
        if self.opset >= (13 if kind == "ReduceSum" else 18):
            return self.op(kind, x, np.array(axes, np.int64), keepdims=1)
        return self.op(kind, x, axes=list(axes), keepdims=1)

    def clip(self, x: ir.Value, low: float, high: float) -> ir.Value:
        """Add a Clip, whose limits became inputs with opset 11."""
        if self.opset >= 11:
            return self.op("Clip", x, self.number(low, x), self.number(high, x))
        return self.op("Clip", x, min=low, max=high)

    def number(self, number: Number, like: ir.Value) -> npt.NDArray[Any]:
        """Return `number` in the type of `like`."""
        assert like.dtype is not None
        return np.asarray(number, like.dtype.numpy())

    def cast(self, x: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Return `x` as `dtype`: itself, or a Cast of it."""
        return x if x.dtype == dtype else self.op("Cast", x, dtype=dtype, to=int(dtype))

    def replace_by(self, value: ir.Value) -> None:
        """Let `value`, made here, stand for the node's only output; the node goes."""
        take_over(self.node.outputs[0], value)

    def set_input(self, index: int, operand: Operand) -> None:
        """Give the node another input; what it read there goes, if nothing else reads it."""
        if len(self.node.inputs) <= index:
            self.node.resize_inputs(index + 1)
        old = self.node.inputs[index]
        new = self._value(operand, f"{self.node.name}.{index}")
        self.node.replace_input_with(index, new)
        _drop(old)

    def keep_inputs(self, count: int) -> None:
        """Take the inputs behind the first `count` away."""
        gone = self.node.inputs[count:]
        if gone:
            self.node.resize_inputs(count)
        for value in gone:
            _drop(value)

    @property
    def _graph(self) -> ir.Graph:
        graph = self.node.graph
        assert isinstance(graph, ir.Graph)
        return graph

    def _value(self, operand: Operand, reader: str) -> ir.Value | None:
        if operand is None or isinstance(operand, ir.Value):
            return operand
        return add_initializer(self._graph, fresh_name(f"{reader}.constant", self.names), operand)


Rewrite: TypeAlias = "Callable[[ir.Node, Emitter], str | Refusal | None]"
"""Restates a node. It returns what was done in words ("" if that is not worth telling), why it
cannot be done, or None where the node may be as it was."""


def sizes_of(value: ir.Value | None) -> list[int | None] | None:
    """Return the sizes of a value, None for an open one; None where its rank is not known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def reads(node: ir.Node, index: int) -> bool:
    """Return whether the node has an input at this place."""
    return len(node.inputs) > index and node.inputs[index] is not None


def numbers(node: ir.Node, index: int) -> list[int] | None:
    """Return the whole numbers that the node reads at this place, if they are constant."""
    found = constant(node.inputs[index]) if reads(node, index) else None
    return None if found is None else [int(number) for number in found.ravel()]


def is_read(node: ir.Node, index: int) -> bool:
    """Return whether something reads this output of the node."""
    if len(node.outputs) <= index:
        return False
    return bool(node.outputs[index].uses()) or node.outputs[index].is_graph_output()


def _drop(value: ir.Value | None) -> None:
    if value is not None and value.graph is not None:
        drop_initializer(value.graph, value)
