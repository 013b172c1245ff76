"""Axes that were an attribute once and are an input now, and Softmax, whose axis meant another."""

from __future__ import annotations

import onnx_ir as ir

from edgecc.conv import Refusal
from passes.legalise.older.emitter import Emitter, numbers, reads, sizes_of

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
"""Those whose axes became an input with opset 18; ReduceSum, Squeeze and Unsqueeze had it at 13."""
_HANDS_ON = {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"}
"""Reductions over no axis at all that leave their input as it is."""


def axes_to_attribute(node: ir.Node, build: Emitter) -> str | Refusal:
    """Axes as an attribute; an empty list means all of them, or none at all."""
    noop = node.attributes.get_int("noop_with_empty_axes", 0)
    axes = numbers(node, 1)
    if axes is None and reads(node, 1):
        return Refusal("its axes are computed at run time")
    if not axes and noop:
        return _without_axes(node, build)
    node.attributes.pop("noop_with_empty_axes", None)
    build.keep_inputs(1)
    if not axes:
        return ""
    node.attributes.add(ir.AttrInt64s("axes", axes))
    return f"axes {axes} are an attribute"


def _without_axes(node: ir.Node, build: Emitter) -> str | Refusal:
    if node.op_type not in _HANDS_ON:
        return Refusal("it reduces over no axis")
    build.replace_by(build.op("Identity", build.x))
    return "Identity, as it reduces over no axis"


def softmax(node: ir.Node, build: Emitter) -> str | Refusal:
    """Along one axis: before opset 13 it went along that axis and all behind it.

    Where those are of size 1 it is the same; else the axis is put last.
    """
    sizes = sizes_of(build.x)
    if not sizes:
        return Refusal("the rank of its input is not known")
    rank = len(sizes)
    axis = node.attributes.get_int("axis", -1) % rank
    if all(size == 1 for size in sizes[axis + 1 :]):
        node.attributes.add(ir.AttrInt64("axis", axis))
        return f"axis is {axis}, and nothing lies behind it"
    order = list(range(rank))
    order[axis], order[-1] = rank - 1, axis
    turned = build.op("Transpose", build.x, perm=order)
    summed = build.op(node.op_type, turned, axis=rank - 1)
    build.replace_by(build.op("Transpose", summed, perm=order))
    return f"Transpose, {node.op_type} along the last axis, Transpose"
