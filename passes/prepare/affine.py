"""Channel-wise affine operators, read as y = scale * x + shift, and put into a convolution.

Shared by fold_batchnorm and fold_affine. All sums are done in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.conv import Refusal, constant, ints
from edgecc.graph import add_initializer, drop_initializer, take_over
from edgecc.rewrite import Decision

Array = npt.NDArray[Any]
HOSTS = ("Conv", "ConvTranspose", "Gemm")
"""Operators with constant weights that can take an affine operator in."""


@dataclass(frozen=True, eq=False)
class Affine:
    """y = scale * x + shift, along axis 1."""

    x: ir.Value
    scale: Array
    """(C,), or () where it is the same for all channels."""
    shift: Array
    """As `scale`."""


def read_affine(node: ir.Node) -> Affine | Refusal | None:
    """Read a node as an affine operator; None for a node that is something else."""
    if node.op_type == "BatchNormalization":
        return _read_batchnorm(node)
    if node.op_type not in ("Mul", "Add", "Sub", "Div") or node.domain != "":
        return None
    left, right = node.inputs
    a, b = constant(left), constant(right)
    if left is None or right is None or (a is None) == (b is None):
        return None
    x = right if b is None else left
    numbers = a if b is None else b
    operand = _per_channel(numbers, x)
    if operand is None:
        return Refusal("its constant is not one number for each channel")
    one, zero = np.ones_like(operand), np.zeros_like(operand)
    if node.op_type == "Mul":
        return Affine(x, operand, zero)
    if node.op_type == "Add":
        return Affine(x, one, operand)
    if node.op_type == "Sub":
        return Affine(x, one, -operand) if b is not None else Affine(x, -one, operand)
    if b is None or not operand.all():
        return Refusal("it divides by the network's own value, or by 0")
    return Affine(x, 1 / operand, zero)


def _read_batchnorm(node: ir.Node) -> Affine | Refusal:
    if node.attributes.get_int("training_mode", 0) or any(v.uses() for v in node.outputs[1:]):
        return Refusal("it is in training mode")
    if not node.attributes.get_int("spatial", 1):
        return Refusal("it normalises every position by itself (spatial=0)")
    x, *rest = node.inputs
    numbers = [constant(value) for value in rest]
    if x is None or any(n is None for n in numbers):
        return Refusal("its statistics are computed at run time")
    gamma, beta, mean, variance = (np.asarray(n, np.float64) for n in numbers)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return Affine(x, scale, beta - mean * scale)


def _per_channel(numbers: Array | None, x: ir.Value) -> Array | None:
    """`numbers` as (C,) or () where they are broadcast along axis 1 of x or everywhere."""
    if numbers is None or not np.issubdtype(numbers.dtype, np.floating):
        return None
    rank = len(x.shape) if x.shape is not None else 0
    if rank < 2 or numbers.ndim > rank:
        return None
    shape = (1,) * (rank - numbers.ndim) + numbers.shape
    if numbers.size == 1:
        return numbers.astype(np.float64).reshape(())
    if math.prod(shape) != shape[1] or x.shape is None or x.shape[1] != shape[1]:
        return None
    return numbers.astype(np.float64).reshape(-1)


def absorb_behind(host: ir.Node, affine: Affine) -> Refusal | None:
    """Change the weights of `host` so that it computes `affine` of its output."""
    weight, bias = constant(host.inputs[1]), None
    if len(host.inputs) > 2 and host.inputs[2] is not None:
        bias = constant(host.inputs[2])
        if bias is None:
            return Refusal("the bias before it is computed at run time")
    if weight is None:
        return Refusal("the weights before it are computed at run time")
    axis, outputs = _output_axis(host, weight)
    factor = host.attributes.get_float("beta", 1.0) if host.op_type == "Gemm" else 1.0
    by_row = bias is not None and bias.ndim > 1 and bias.shape[-1] != bias.size
    if bias is not None and (by_row or bias.size not in (1, outputs)):
        return Refusal("the bias before it is not one number for each channel")
    old = np.zeros(outputs) if bias is None else factor * bias.astype(np.float64).reshape(-1)
    scale = np.broadcast_to(affine.scale, outputs)
    scaled = _scaled(weight, scale, axis, host.attributes.get_int("group", 1))
    _set_weights(host, scaled, old * scale + affine.shift)
    if host.op_type == "Gemm":
        host.attributes.pop("beta", None)
    return None


def absorb_before(host: ir.Node, affine: Affine) -> Refusal | None:
    """Change the weights of a Conv so that it takes the input of `affine` instead of its output.

    A shift does not fold into a padded convolution: its zeros would have to be shifted too.
    """
    weight = constant(host.inputs[1])
    has_bias = len(host.inputs) > 2 and host.inputs[2] is not None
    bias = constant(host.inputs[2]) if has_bias else np.zeros(1)
    if host.op_type != "Conv" or weight is None or bias is None:
        return Refusal("what is behind it is not a convolution with constant weights")
    padded = any(ints(host, "pads", [])) or host.attributes.get_string("auto_pad", "") in (
        "SAME_UPPER",
        "SAME_LOWER",
    )
    if padded and np.any(affine.shift):
        return Refusal("it shifts the input of a padded convolution")
    groups = host.attributes.get_int("group", 1)
    outputs, inputs = weight.shape[0], weight.shape[1]
    by_group = weight.astype(np.float64).reshape(groups, outputs // groups, inputs, -1)
    scale = np.broadcast_to(affine.scale, groups * inputs).reshape(groups, 1, inputs, 1)
    shift = np.broadcast_to(affine.shift, groups * inputs).reshape(groups, 1, inputs, 1)
    moved = (by_group * shift).sum(axis=(2, 3)).reshape(outputs)
    _set_weights(host, (by_group * scale).reshape(weight.shape), bias + moved)
    host.replace_input_with(0, affine.x)
    return None


def _output_axis(host: ir.Node, weight: Array) -> tuple[int, int]:
    """Where the outputs lie in the weight, and how many there are."""
    if host.op_type == "Gemm":
        axis = 0 if host.attributes.get_int("transB", 0) else 1
        return axis, weight.shape[axis]
    if host.op_type == "ConvTranspose":
        return 1, weight.shape[1] * host.attributes.get_int("group", 1)
    return 0, weight.shape[0]


def _scaled(weight: Array, scale: Array, axis: int, groups: int) -> Array:
    """`weight` with its outputs scaled; a ConvTranspose has them by group: (I, O/G, *kernel)."""
    wide = weight.astype(np.float64)
    if axis == 0 or groups == 1:
        shape = [1] * weight.ndim
        shape[axis] = len(scale)
        return wide * scale.reshape(shape)
    by_group = wide.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return (by_group * scale.reshape(groups, 1, -1, 1)).reshape(weight.shape)


def _set_weights(host: ir.Node, weight: Array, bias: Array) -> None:
    """Give `host` weights of its own, in the type of the old ones."""
    kind, graph = host.inputs[1], host.graph
    assert kind is not None
    assert kind.dtype is not None
    assert isinstance(graph, ir.Graph)
    dtype = kind.dtype.numpy()
    if len(host.inputs) < 3:
        host.resize_inputs(3)
    for index, (name, array) in enumerate([("weight", weight), ("bias", bias)], start=1):
        old = host.inputs[index]
        new = add_initializer(graph, f"{host.name}.{name}", array.astype(dtype))
        host.replace_input_with(index, new)
        drop_initializer(graph, old)


def fold(model: ir.Model, kinds: frozenset[str], by: str) -> Iterator[Decision]:
    """Fold operators of `kinds` into their neighbours until none moves; report each once."""
    moved = True
    refusals: dict[str, Refusal] = {}
    while moved:
        moved = False
        refusals.clear()
        for node in list(model.graph):
            affine = read_affine(node) if node.op_type in kinds else None
            if affine is None:
                continue
            outcome = affine if isinstance(affine, Refusal) else _fold_one(node, affine)
            if isinstance(outcome, Refusal):
                refusals[node.name or ""] = outcome
            else:
                moved = True
                yield Decision(node.name or "", by, note=outcome)
    for name, refusal in refusals.items():
        yield Decision(name, by, refusal=str(refusal))


def _fold_one(node: ir.Node, affine: Affine) -> str | Refusal:
    """Fold `node` into the operator before or behind it; return what was done."""
    y = node.outputs[0]
    before = affine.x.producer()
    refusal = Refusal("no convolution stands beside it")
    if before is not None and before.op_type in HOSTS and before.domain == "":
        alone = None if _is_private(affine.x) else Refusal(f"others read {before.name} as well")
        refusal_behind = alone or absorb_behind(before, affine)
        if refusal_behind is None:
            take_over(y, affine.x)
            return f"folded into {before.name}"
        refusal = refusal_behind
    readers = list(y.uses())
    if len(readers) == 1 and _is_private(y) and readers[0].node.op_type == "Conv":
        behind = readers[0].node
        refusal_before = absorb_before(behind, affine) if readers[0].idx == 0 else refusal
        if refusal_before is None:
            node.graph.remove(node, safe=True)  # type: ignore[union-attr]
            return f"folded into {behind.name}"
        refusal = refusal_before
    return refusal


def _is_private(value: ir.Value) -> bool:
    """Whether one node alone reads the value."""
    return len(value.uses()) == 1 and not value.is_graph_output()
