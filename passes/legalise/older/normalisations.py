"""Normalisations as means, roots and instance normalisation. Exact but for rounding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal, constant
from passes.legalise.older.emitter import Emitter, Operand, is_read, reads, sizes_of

_WIDE = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


def layer_normalization(node: ir.Node, build: Emitter) -> str | Refusal:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over the axes from `axis` on."""
    axes = _axes_behind(node)
    if axes is None or is_read(node, 1) or is_read(node, 2):
        return Refusal("the rank of its input is not known, or its statistics are read")
    x = _stashed(node, build)
    centred = build.op("Sub", x, build.reduce("ReduceMean", x, axes))
    deviation = _root_mean_square(node, build, centred, axes)
    normal = build.cast(build.op("Div", centred, deviation), _type_of(build.x))
    scaled = build.op("Mul", normal, node.inputs[1])
    _replace_first(build, build.op("Add", scaled, node.inputs[2]) if reads(node, 2) else scaled)
    return "ReduceMean, Sub, Mul, ReduceMean, Sqrt, Div"


def rms_normalization(node: ir.Node, build: Emitter) -> str | Refusal:
    """x / sqrt(mean(x^2) + epsilon) * scale, over the axes from `axis` on."""
    axes = _axes_behind(node)
    if axes is None:
        return Refusal("the rank of its input is not known")
    x = _stashed(node, build)
    normal = build.op("Div", x, _root_mean_square(node, build, x, axes))
    build.replace_by(build.op("Mul", build.cast(normal, _type_of(build.x)), node.inputs[1]))
    return "Mul, ReduceMean, Sqrt, Div"


def group_normalization(node: ir.Node, build: Emitter) -> str | Refusal:
    """InstanceNormalization of x (N, C, ...) seen as (N, groups, ...).

    At opset 18 there is a scale and bias for each group, since 21 for each channel.
    """
    sizes, groups = sizes_of(build.x), node.attributes.get_int("num_groups", 1)
    per = sizes_of(node.inputs[1])
    if sizes is None or len(sizes) < 3 or per is None or per[0] is None or not sizes[1]:
        return Refusal("the sizes of its input are not known")
    x = _stashed(node, build)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    by_group = build.op("Reshape", x, np.array([0, groups, -1]))
    by_channel = per[0] == sizes[1] and groups != sizes[1]
    scale: list[Operand] = list(node.inputs[1:3])
    if by_channel:
        scale = [build.number([1] * groups, x), build.number([0] * groups, x)]
    elif x is not build.x:
        scale = [build.cast(value, _type_of(x)) for value in node.inputs[1:3] if value]
    normal = build.op("InstanceNormalization", by_group, *scale, epsilon=epsilon)
    y = build.cast(build.op("Reshape", normal, _shape(build, sizes)), _type_of(build.x))
    if by_channel:
        weight, bias = (_column(build, value, len(sizes) - 1) for value in node.inputs[1:3])
        y = build.op("Add", build.op("Mul", y, weight), bias)
    build.replace_by(y)
    return f"InstanceNormalization of {groups} groups"


def _root_mean_square(node: ir.Node, build: Emitter, x: ir.Value, axes: list[int]) -> ir.Value:
    """sqrt(mean(x^2) + epsilon)."""
    power = build.reduce("ReduceMean", build.op("Mul", x, x), axes)
    epsilon = build.number(node.attributes.get_float("epsilon", 1e-5), x)
    return build.op("Sqrt", build.op("Add", power, epsilon))


def _axes_behind(node: ir.Node) -> list[int] | None:
    sizes = sizes_of(node.inputs[0])
    if sizes is None:
        return None
    axis = node.attributes.get_int("axis", -1)
    return list(range(axis + len(sizes) if axis < 0 else axis, len(sizes)))


def _stashed(node: ir.Node, build: Emitter) -> ir.Value:
    """The input in the type that statistics are computed in."""
    stash = ir.DataType(node.attributes.get_int("stash_type", int(ir.DataType.FLOAT)))
    return build.x if build.x.dtype in _WIDE else build.cast(build.x, stash)


def _type_of(value: ir.Value) -> ir.DataType:
    assert value.dtype is not None
    return value.dtype


def _shape(build: Emitter, sizes: list[int | None]) -> Operand:
    """The shape of the input: as numbers, where only the batch is open."""
    if None in sizes[1:]:
        return build.op("Shape", build.x, dtype=ir.DataType.INT64)
    return np.array([0, *sizes[1:]])


def _column(build: Emitter, value: ir.Value | None, rank: int) -> Operand:
    """Numbers by channel (C,) as (C, 1, 1), which lie along the channels of (N, C, H, W)."""
    given, shape = constant(value), [-1, *[1] * (rank - 1)]
    return build.op("Reshape", value, np.array(shape)) if given is None else given.reshape(shape)


def _replace_first(build: Emitter, value: ir.Value) -> None:
    """Let `value` stand for the node's first output; nothing reads the others."""
    build.node.resize_outputs(1)
    build.replace_by(value)
