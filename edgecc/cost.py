"""What a model costs: multiply-adds and parameters, counted on the graph itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from edgecc.conv import is_convolution, nested_convolutions
from edgecc.layers import Sizes
from edgecc.shapes import Shape, fix

ShapeInference = Callable[[ir.Model], object]


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one inference, and numbers to store."""

    macs: int = 0
    params: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)


@dataclass(frozen=True)
class Costs:
    """The cost of a model, whole and node by node."""

    total: Cost
    by_node: dict[str, Cost]
    """Every Conv, ConvTranspose, Gemm and MatMul of the main graph."""
    uncounted: list[str] = field(default_factory=list)
    """Nodes whose shapes are not known; their multiply-adds are not in the total."""


def count(model: ir.Model, inputs: Mapping[str, Shape], infer: ShapeInference) -> Costs:
    """Count `model` at the given input shapes; `infer` fills in the shapes of a copy."""
    still = model.clone()
    fix(still, dict(inputs))
    infer(still)
    by_node: dict[str, Cost] = {}
    uncounted = []
    for node in still.graph:
        if node.op_type not in _MACS or node.domain != "":
            continue
        macs = _MACS[node.op_type](node)
        if macs is None:
            uncounted.append(node.name or "")
        weights = sum(
            _size(v) or 0 for v in node.inputs[1:] if v is not None and v.is_initializer()
        )
        by_node[node.name or ""] = Cost(macs or 0, weights)
    uncounted += [node.name or "" for node in nested_convolutions(still)]
    total = Cost(sum(cost.macs for cost in by_node.values()), parameters(model))
    return Costs(total, by_node, uncounted)


def input_sizes(
    model: ir.Model, inputs: Mapping[str, Shape], infer: ShapeInference
) -> dict[str, Sizes]:
    """Return the spatial sizes that each convolution reads, by name, where they are known."""
    still = model.clone()
    fix(still, dict(inputs))
    infer(still)
    found = {}
    for node in still.graph:
        shape = _shape(node.inputs[0]) if is_convolution(node) else None
        if shape is not None:
            found[node.name or ""] = shape[2:]
    return found


class Ledger:
    """Counts a model now, and again whenever a pass reports."""

    def __init__(self, model: ir.Model, inputs: Mapping[str, Shape], infer: ShapeInference) -> None:
        self._inputs, self._infer = inputs, infer
        self.costs = [count(model, inputs, infer)]

    def __call__(self, report: object, model: ir.Model) -> None:
        """Observe a pass."""
        self.costs.append(count(model, self._inputs, self._infer))


def parameters(model: ir.Model) -> int:
    """Return how many floating-point numbers the main graph stores."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    tensors += [
        node.attributes["value"].as_tensor()
        for node in model.graph
        if node.op_type == "Constant" and "value" in node.attributes
    ]
    return sum(t.size for t in tensors if t is not None and t.dtype.is_floating_point())


def _size(value: ir.Value | None) -> int | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return math.prod(s for s in value.shape if isinstance(s, int))


def _shape(value: ir.Value | None) -> Shape | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(s for s in value.shape if isinstance(s, int))


def _conv(node: ir.Node) -> int | None:
    """Output positions times the size of one filter, over all filters."""
    weight, y = _shape(node.inputs[1]), _size(node.outputs[0])
    return None if weight is None or y is None else y * math.prod(weight[1:])


def _conv_transpose(node: ir.Node) -> int | None:
    weight, x = _shape(node.inputs[1]), _size(node.inputs[0])
    return None if weight is None or x is None else x * math.prod(weight[1:])


def _gemm(node: ir.Node) -> int | None:
    a, y = _shape(node.inputs[0]), _size(node.outputs[0])
    if a is None or y is None:
        return None
    return y * a[0 if node.attributes.get_int("transA", 0) else 1]


def _matmul(node: ir.Node) -> int | None:
    a, y = _shape(node.inputs[0]), _size(node.outputs[0])
    return None if not a or y is None else y * a[-1]


_MACS = {"Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _matmul}
