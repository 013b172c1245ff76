"""Nodes that TVM's ONNX frontend reads wrongly, rewritten into ones that it reads rightly.

Each correction takes a node and returns those that replace it, or None where it is read well. All
of them were found by comparing TVM 0.27 with onnxruntime on some 1500 small networks; the table
in `tests/targets/test_tvm.py` has one case for each. The result is for the frontend only: it is
not always a valid model of its opset (TVM reads Slice's limits as inputs in any).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto

from edgecc.errors import BuildError
from targets.tvm.facts import Facts, NodeChain, attributes_of, changed
from targets.tvm.refusal import NotInTvmError
from targets.tvm.resize import resize

# TVM drops the other outputs, or returns a placeholder in their place.
FIRST_OUTPUT_ONLY = ("BatchNormalization", "Dropout", "LayerNormalization", "MaxPool")


def corrected(model: onnx.ModelProto, facts: Facts) -> onnx.ModelProto:
    """Return `model` with every correction applied; it is left as it was."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes: list[NodeProto] = []
    used = {name for node in result.graph.node for name in node.input}
    used |= {value.name for value in result.graph.output}
    for node in result.graph.node:
        _drop_unused_outputs(node, used)
        rule = CORRECTIONS.get(node.op_type)
        replacement = rule(node, facts) if rule else None
        nodes += [node] if replacement is None else replacement
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del result.graph.node[:]
    result.graph.node.extend(kept)
    return result


def _drop_unused_outputs(node: NodeProto, used: set[str]) -> None:
    if node.op_type not in FIRST_OUTPUT_ONLY:
        return
    for name in node.output[1:]:
        if name in used:
            raise NotInTvmError(
                f"{node.op_type} '{node.name}': TVM gives its first output only, '{name}' is used",
                nodes=[node.name],
            )
    del node.output[1:]


def _pool(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """A last window inside the padding (ceil_mode): shapes inferred behind it would be wrong."""
    given = attributes_of(node)
    if not given.get("ceil_mode", 0) or given.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    sizes, inferred = facts.shape(node, node.input[0])[2:], facts.shape(node, node.output[0])[2:]
    pads, strides = given.get("pads", [0] * 2 * len(sizes)), given.get("strides", [1] * len(sizes))
    for size, begin, stride, count in zip(sizes, pads, strides, inferred, strict=False):
        if (count - 1) * stride >= size + begin:
            raise BuildError(
                f"{node.op_type} '{node.name}': ceil_mode puts its last window into the padding,"
                " which ONNX counted before opset 22 and no runtime computes",
                hint="export it without ceil_mode, or from opset 22",
            )
    return None


def _max_pool(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """SAME_LOWER: TVM rounds the output down where ONNX rounds it up."""
    given = attributes_of(node)
    if given.get("auto_pad", "NOTSET") not in ("SAME_UPPER", "SAME_LOWER"):
        return _pool(node, facts)
    sizes, kernel = facts.shape(node, node.input[0])[2:], given["kernel_shape"]
    strides = given.get("strides", [1] * len(kernel))
    dilations = given.get("dilations", [1] * len(kernel))
    totals = [
        max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    pads = _split(totals, small_first=given["auto_pad"] == "SAME_UPPER")
    return [changed(node, drop=("auto_pad",), pads=pads)]


def _constant(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """Numbers as attributes (`value_float`, `value_ints`): TVM reads a whole tensor only."""
    types: dict[str, npt.DTypeLike] = {"value_float": np.float32, "value_floats": np.float32}
    types |= {"value_int": np.int64, "value_ints": np.int64}
    given = {k: v for k, v in attributes_of(node).items() if k in types}
    if not given:
        return None
    (kind, value), chain = given.popitem(), NodeChain(node)
    chain.constant(np.array(value, types[kind]))
    return chain.done()


def _conv_transpose(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """output_shape: TVM ignores it."""
    given = attributes_of(node)
    if "output_shape" not in given:
        return None
    sizes = facts.shape(node, node.input[0])[2:]
    kernel = facts.shape(node, node.input[1])[2:]
    ones, zeros = [1] * len(kernel), [0] * len(kernel)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    extra = given.get("output_padding", zeros)
    surplus = [
        strides[i] * (sizes[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - wanted
        for i, wanted in enumerate(given["output_shape"][-len(kernel) :])
    ]
    totals = [max(total, 0) for total in surplus]
    extra = [pad + max(-total, 0) for pad, total in zip(extra, surplus, strict=True)]
    pads = _split(totals, small_first=given.get("auto_pad") == "SAME_UPPER")
    drop = ("auto_pad", "output_shape")
    return [changed(node, drop=drop, pads=pads, output_padding=extra)]


def _split(totals: list[int], *, small_first: bool) -> list[int]:
    """Return ONNX's pads (all begins, all ends); an odd one goes to the larger side."""
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return small + large if small_first else large + small


def _slice(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """Limits as attributes (before opset 10): TVM reads them as inputs only."""
    given = attributes_of(node)
    if "starts" not in given:
        return None
    axes = given.get("axes", list(range(len(given["starts"]))))
    chain = NodeChain(node)
    limits = [
        chain.constant(np.asarray(v, np.int64)) for v in (given["starts"], given["ends"], axes)
    ]
    chain.add("Slice", [node.input[0], *limits])
    return chain.done()


def _pow(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """An exponent of another type than the base: TVM wants the same."""
    base, exponent = (facts.types.get(name) for name in node.input)
    if None in (base, exponent) or base == exponent:
        return None
    chain = NodeChain(node)
    chain.add("Pow", [node.input[0], chain.add("Cast", [node.input[1]], to=base)])
    return chain.done()


def _space_to_depth(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """Mode CRD (new in late opsets): TVM reads it as DCR."""
    given = attributes_of(node)
    if given.get("mode", "DCR") == "DCR":
        return None
    n, c, h, w = facts.shape(node, node.input[0])
    b = given["blocksize"]
    chain = NodeChain(node)
    split = chain.constant(np.array([n, c, h // b, b, w // b, b]))
    x = chain.add("Reshape", [node.input[0], split])
    x = chain.add("Transpose", [x], perm=[0, 1, 3, 5, 2, 4])
    chain.add("Reshape", [x, chain.constant(np.array([n, c * b * b, h // b, w // b]))])
    return chain.done()


def _instance_normalization(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """TVM sums a whole channel in one float32: 1e-3 off at 300x300. Sum by axis instead."""
    x, scale, bias = node.input
    rank = len(facts.shape(node, x))
    chain = NodeChain(node)

    def mean(value: str) -> str:
        for axis in reversed(range(2, rank)):
            if facts.opset < 18:
                value = chain.add("ReduceMean", [value], axes=[axis], keepdims=1)
            else:
                axes = chain.constant(np.array([axis]))
                value = chain.add("ReduceMean", [value, axes], keepdims=1)
        return value

    def per_channel(value: str) -> str:
        return chain.add("Reshape", [value, chain.constant(np.array([-1] + [1] * (rank - 2)))])

    epsilon = np.array(attributes_of(node).get("epsilon", 1e-5), np.float32)
    centred = chain.add("Sub", [x, mean(x)])
    variance = mean(chain.add("Mul", [centred, centred]))
    deviation = chain.add("Sqrt", [chain.add("Add", [variance, chain.constant(epsilon)])])
    gain = chain.add("Div", [per_channel(scale), deviation])
    chain.add("Add", [chain.add("Mul", [centred, gain]), per_channel(bias)])
    return chain.done()


CORRECTIONS: dict[str, Callable[[NodeProto, Facts], list[NodeProto] | None]] = {
    "AveragePool": _pool,
    "Constant": _constant,
    "ConvTranspose": _conv_transpose,
    "InstanceNormalization": _instance_normalization,
    "MaxPool": _max_pool,
    "Pow": _pow,
    "Resize": resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Upsample": resize,
}
