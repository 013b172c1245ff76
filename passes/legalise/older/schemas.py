"""Whether a node means the same under the opset before, going by ONNX's own schemas."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema

REDEFINED = {("RoiAlign", 16): "its pixels lie half a pixel elsewhere there"}
"""Operators whose meaning changed though their form did not, and with which opset."""
NEW_VALUES = {
    ("Resize", 19): ("coordinate_transformation_mode", ("half_pixel_symmetric",)),
    ("ScatterElements", 18): ("reduction", ("max", "min")),
    ("ScatterND", 18): ("reduction", ("max", "min")),
}
"""By operator and opset: an attribute that knows these values since."""
_SINGLE = OpSchema.FormalParameterOption.Single
_ONNX_NAMES: dict[ir.DataType | None, str] = {
    ir.DataType.FLOAT: "float",
    ir.DataType.DOUBLE: "double",
    **{d: d.name.lower() for d in ir.DataType if d not in (ir.DataType.FLOAT, ir.DataType.DOUBLE)},
}


def changed(node: ir.Node, opset: int) -> bool:
    """Return whether `opset` brought the node's operator, or changed it."""
    kind = node.op_type
    return onnx.defs.has(kind, opset, "") and _schema(kind, opset).since_version == opset


def misfit(node: ir.Node, opset: int) -> str | None:
    """Return why a node of `opset` does not mean the same under the one before; None if it does."""
    kind = node.op_type
    if not onnx.defs.has(kind, opset - 1, ""):
        return f"{kind} came with opset {opset}"
    new, old = _schema(kind, opset), _schema(kind, opset - 1)
    if old.deprecated:
        return f"{kind} is deprecated there"
    if reason := REDEFINED.get((kind, opset)):
        return reason
    name, values = NEW_VALUES.get((kind, opset), ("", ()))
    if (value := node.attributes.get_string(name, "")) in values:
        return f"{kind} knows no {name}={value} there"
    return _moved(node, new, old) or unknown(node, opset - 1)


def unknown(node: ir.Node, opset: int) -> str | None:
    """Return what of a node its operator does not know at `opset`; None if it may stand there."""
    kind, schema = node.op_type, _schema(node.op_type, opset)
    if extra := [name for name in node.attributes if name not in schema.attributes]:
        return f"{kind} has no attribute '{extra[0]}' there"
    if opset < 11 and node.attributes.get_int("axis", 0) < 0:
        return f"{kind} takes no negative axis there"
    return _untyped(node, schema.inputs, node.inputs, "input") or _untyped(
        node, schema.outputs, node.outputs, "output"
    )


def leave_out_defaults(node: ir.Node, opset: int) -> None:
    """Take away what `opset` added to the node's attributes and is as it was without."""
    if not onnx.defs.has(node.op_type, opset - 1, ""):
        return
    new, old = _schema(node.op_type, opset), _schema(node.op_type, opset - 1)
    for name in set(new.attributes) - set(old.attributes):
        given = node.attributes.get(name)
        default = new.attributes[name].default_value
        if given is not None and default.type and ir.to_proto(given) == _called(default, name):
            node.attributes.pop(name)


def _moved(node: ir.Node, new: OpSchema, old: OpSchema) -> str | None:
    """What of the node's form means another thing in the old schema."""
    kind = node.op_type
    for name in old.attributes:
        if name not in new.attributes:
            return f"{kind} takes '{name}' as an attribute there"
        default = old.attributes[name].default_value
        if name not in node.attributes and default != new.attributes[name].default_value:
            return f"'{name}' of {kind} has another default there"
    for theirs, ours, values, what in (
        (old.inputs, new.inputs, node.inputs, "input"),
        (old.outputs, new.outputs, node.outputs, "output"),
    ):
        for index, value in enumerate(values):
            here, there = _formal(ours, index), _formal(theirs, index)
            if value is not None and here and there and here.name != there.name:
                return f"{kind} takes no {what} {index} of this meaning there"
    return None


def _untyped(
    node: ir.Node,
    formals: Sequence[OpSchema.FormalParameter],
    values: Sequence[ir.Value | None],
    what: str,
) -> str | None:
    for index, value in enumerate(values):
        formal = _formal(formals, index)
        if value is None:
            if formal is not None and formal.option == _SINGLE:
                return f"{node.op_type} needs its {what} {index} there"
            continue
        if formal is None:
            return f"{node.op_type} takes no {what} {index} there"
        if value.dtype is None or not isinstance(value.type, ir.TensorType):
            return f"the type of its {what} {index} is not known"
        kind = f"tensor({_ONNX_NAMES.get(value.dtype, '?')})"
        if kind not in formal.types:
            return f"{node.op_type} takes no {kind} there"
    return None


def _formal(
    formals: Sequence[OpSchema.FormalParameter], index: int
) -> OpSchema.FormalParameter | None:
    """The formal parameter at a place; the last one may stand for many."""
    if index < len(formals):
        return formals[index]
    variadic = formals and formals[-1].option == OpSchema.FormalParameterOption.Variadic
    return formals[-1] if variadic else None


def _schema(kind: str, opset: int) -> OpSchema:
    return onnx.defs.get_schema(kind, opset, "")


def _called(attribute: onnx.AttributeProto, name: str) -> onnx.AttributeProto:
    named = onnx.AttributeProto()
    named.CopyFrom(attribute)
    named.name = name
    return named
