"""What an operator does to the order of channels: hands it on, or makes and reads it by weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.conv import Refusal, constant

CHANNELWISE = frozenset(
    {
        *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Clip", "HardSwish"),
        *("Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Softsign", "Mish", "Gelu"),
        *("Erf", "Exp", "Abs", "Neg", "Sqrt", "MaxPool", "AveragePool", "LpPool"),
        *("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"),
    }
)
"""Operators that treat every channel of their first input alike and by itself."""
ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "PRelu"})
"""Operators that bring together the same channel of all their inputs."""
Axes = tuple[tuple[int, int], ...]
"""Constant inputs of a node, each with the axis along which it follows the channels."""


@dataclass(frozen=True)
class Role:
    """How the channels of what a node reads and of what it makes hang together."""

    rows: Axes = ()
    """Constants that follow the channels of the output."""
    columns: Axes = ()
    """Constants that follow the channels of the first input, where the output's are others."""
    through: tuple[ir.Value, ...] = ()
    """Inputs whose channels are those of the output."""
    repeat: int = 1
    """So many channels of the output, one behind the other, for each of such an input."""
    groups: bool = False
    """Whether each channel is a group of its own (a depthwise convolution)."""


def width(value: ir.Value | None) -> int | None:
    """The number of channels, where it is known."""
    if value is None or value.shape is None or len(value.shape) < 2:
        return None
    size = value.shape[1]
    return size if isinstance(size, int) else None


def gathered(node: ir.Node) -> npt.NDArray[np.int64] | None:
    """The channels, counted from 0, that a Gather takes; None for any other node."""
    if node.op_type != "Gather" or node.domain not in ("", "ai.onnx"):
        return None
    index, channels = constant(node.inputs[1]), width(node.inputs[0])
    if index is None or index.ndim != 1 or channels is None:
        return None
    if node.attributes.get_int("axis", 0) != 1:
        return None
    return np.where(index < 0, index + channels, index).astype(np.int64)


def role_of(node: ir.Node) -> Role | Refusal:
    """Read a node; refuse those that mix channels in another way than by constant weights."""
    kind, first = node.op_type, node.inputs[0] if node.inputs else None
    refusal = Refusal(f"{kind} {node.name} is beside it")
    alone = not any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    if node.domain not in ("", "ai.onnx") or first is None or not alone:
        return refusal
    if kind in CHANNELWISE:
        return Role(through=(first,))
    if gathered(node) is not None:
        return Role(rows=((1, 0),))
    if kind in ELEMENTWISE:
        return _elementwise(node) or refusal
    if kind in ("Flatten", "Reshape"):
        positions = _laid_out(node)
        return refusal if positions is None else Role(through=(first,), repeat=positions)
    if kind in ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"):
        if any(constant(value) is None for value in node.inputs[1:] if value is not None):
            return Refusal(f"the weights of {node.name} are computed at run time")
        return _weighted(node, first)
    return refusal


def _weighted(node: ir.Node, first: ir.Value) -> Role | Refusal:
    """Read an operator with constant weights."""
    kind, attributes = node.op_type, node.attributes
    weight = constant(node.inputs[1])
    assert weight is not None
    groups = attributes.get_int("group", 1)
    bias: Axes = ((2, 0),) if len(node.inputs) > 2 and node.inputs[2] is not None else ()
    if kind == "BatchNormalization":
        return Role(rows=tuple((index, 0) for index in range(1, 5)), through=(first,))
    if kind == "Conv" and groups > 1 and weight.shape[1] == 1:
        return Role(((1, 0), *bias), (), (first,), len(weight) // groups, groups=True)
    if groups > 1:
        return Refusal(f"{node.name} has {groups} groups")
    if kind == "Conv":
        return Role(((1, 0), *bias), ((1, 1),))
    if kind == "ConvTranspose":
        return Role(((1, 1), *bias), ((1, 0),))
    flat = first.shape is not None and len(first.shape) == 2 and weight.ndim == 2
    if not flat or attributes.get_int("transA", 0) == 1:
        return Refusal(f"{kind} {node.name} does not read rows of channels")
    outputs = 0 if kind == "Gemm" and attributes.get_int("transB", 0) == 1 else 1
    added = constant(node.inputs[2]) if bias else None
    if added is not None:
        follows = added.ndim > 0 and added.shape[-1] == weight.shape[outputs]
        bias = ((2, added.ndim - 1),) if follows else ()
    return Role(((1, outputs), *bias), ((1, 1 - outputs),))


def _elementwise(node: ir.Node) -> Role | None:
    """Read an operator that broadcasts; None where channels meet something else."""
    y = node.outputs[0]
    channels = width(y)
    if channels is None or y.shape is None:
        return None
    rows: list[tuple[int, int]] = []
    through: list[ir.Value] = []
    for index, value in enumerate(node.inputs):
        numbers = constant(value)
        shape: Any = numbers.shape if numbers is not None else value and value.shape
        if value is None or shape is None:
            return None
        axis = len(shape) - len(y.shape) + 1
        if axis < 0 or (shape[axis] == 1 and channels > 1):
            continue
        if shape[axis] != channels or (numbers is None and axis != 1):
            return None
        if numbers is None:
            through.append(value)
        else:
            rows.append((index, axis))
    return Role(rows=tuple(rows), through=tuple(through))


def _laid_out(node: ir.Node) -> int | None:
    """How many positions a Flatten, or a Reshape that does the same, lays behind each other."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None or len(x.shape) < 2 or len(y.shape) != 2:
        return None
    if node.op_type == "Reshape":
        target = constant(node.inputs[1])
        if target is None or target.size != 2 or target[1] != -1 or x.shape[0] != y.shape[0]:
            return None
    elif node.attributes.get_int("axis", 1) != 1:
        return None
    sizes = [size for size in x.shape[2:] if isinstance(size, int)]
    return math.prod(sizes) if len(sizes) == len(x.shape) - 2 else None
