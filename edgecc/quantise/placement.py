"""Where Q/DQ pairs may stand so that TensorRT computes in int8 what is meant to be.

TensorRT's developer guide ("Q/DQ layer-placement recommendations") asks for: all inputs of what
multiplies by weights quantised; its output not (it is fused with what follows: BatchNormalization,
activations, a residual sum); the other branch of a residual sum quantised; zero points of 0. Biases
stay in float, and so do the network's outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecc.conv import Array, constant

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
POOLS = ("AveragePool", "GlobalAveragePool")
FUSED_BEHIND = ("BatchNormalization", "Clip", "HardSwish", "LeakyRelu", "Relu", "Sigmoid")
"""What TensorRT computes together with the layer before it."""


def quantised_from(value: ir.Value | None) -> ir.Value | None:
    """Return what stands before the Q/DQ pair that makes `value`; None where none does."""
    dequantise = value.producer() if value is not None else None
    if dequantise is None or dequantise.op_type != "DequantizeLinear":
        return None
    held = dequantise.inputs[0]
    quantise = held.producer() if held is not None else None
    if quantise is None or quantise.op_type != "QuantizeLinear":
        return None
    return quantise.inputs[0]


def fused_into(add: ir.Node, value: ir.Value | None) -> bool:
    """Return whether `value` is what a layer with weights makes, for `add` alone to read."""
    made_by = value.producer() if value is not None else None
    if value is None or made_by is None or made_by.op_type not in WEIGHTED:
        return False
    readers = [n for n in value.consumers() if n.op_type != "QuantizeLinear"]
    behind = [n for q in value.consumers() if q.op_type == "QuantizeLinear" for n in _past(q)]
    return not value.is_graph_output() and set(readers + behind) == {add}


def placement_problems(model: ir.Model) -> list[str]:
    """Return what TensorRT would refuse, or compute in float; empty where all is well."""
    return [problem for node in model.graph for problem in _problems(node)] + [
        f"the output '{value.name}' is quantised"
        for value in model.graph.outputs
        if (made_by := value.producer()) is not None and made_by.op_type == "DequantizeLinear"
    ]


def _problems(node: ir.Node) -> Iterator[str]:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        yield from _pair_problems(node)
    elif node.op_type in WEIGHTED:
        yield from _weighted_problems(node)
    elif node.op_type == "Add":
        yield from _sum_problems(node)
    elif node.op_type in FUSED_BEHIND:
        before = quantised_from(node.inputs[0])
        made_by = before.producer() if before is not None else None
        if made_by is not None and made_by.op_type in WEIGHTED:
            yield f"a Q/DQ pair parts {made_by.op_type} '{made_by.name}' from '{node.name}'"


def _pair_problems(node: ir.Node) -> Iterator[str]:
    what = f"{node.op_type} '{node.name}'"
    scale = constant(node.inputs[1])
    if scale is None or not (np.isfinite(scale).all() and (scale > 0).all()):
        yield f"{what} has no constant scale above zero"
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero is None or zero.dtype != np.int8 or zero.any():
        yield f"{what} has no zero point 0 in int8"
    readers = set(node.outputs[0].consumers())
    if node.op_type == "DequantizeLinear":
        if len(readers) != 1:
            yield f"{what} is shared by {len(readers)} nodes"
        return
    for reader in readers:
        if reader.op_type != "DequantizeLinear":
            yield f"{reader.op_type} '{reader.name}' reads int8"
        elif scale is not None and not _equal(scale, constant(reader.inputs[1])):
            yield f"{what} and '{reader.name}' have other scales"


def _weighted_problems(node: ir.Node) -> Iterator[str]:
    what = f"{node.op_type} '{node.name}'"
    data, weight = (quantised_from(node.inputs[index]) for index in (0, 1))
    if (data is None) != (weight is None):
        yield f"{what} is half quantised"
    if weight is not None and weight.is_initializer():
        found = node.inputs[1]
        pair = found.producer() if found is not None else None
        scale = constant(pair.inputs[1]) if pair is not None else None
        axis = pair.attributes.get_int("axis", 1) if pair is not None else -1
        sizes = constant(weight)
        if scale is not None and scale.size > 1 and sizes is not None:
            if axis != weight_axis(node):
                yield f"{what} has weights quantised along axis {axis}"
            elif scale.size != sizes.shape[axis]:
                yield f"{what} has {scale.size} scales"
    if len(node.inputs) > 2 and (bias := node.inputs[2]) is not None:
        made_by = bias.producer()
        if made_by is not None and made_by.op_type == "DequantizeLinear":
            yield f"{what} has a quantised bias"


def _sum_problems(node: ir.Node) -> Iterator[str]:
    before = [quantised_from(value) for value in node.inputs]
    if all(value is not None for value in before) and any(fused_into(node, v) for v in before):
        yield f"both inputs of Add '{node.name}' are quantised, so nothing is fused with it"
    plain = [value for value, was in zip(node.inputs, before, strict=True) if was is None]
    if any(value is not None for value in before) and not all(fused_into(node, v) for v in plain):
        yield f"Add '{node.name}' is half quantised"


def weight_axis(node: ir.Node) -> int:
    """Return the axis of output channels in the weights of a node."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1


def _equal(scale: Array, other: Array | None) -> bool:
    return other is not None and np.array_equal(scale, other)


def _past(quantise: ir.Node) -> list[ir.Node]:
    """The readers behind a Q/DQ pair."""
    return [n for pair in quantise.outputs[0].consumers() for n in pair.outputs[0].consumers()]
