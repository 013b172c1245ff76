"""lower_opset: the same operators under an older opset number, where they mean the same there.

Before:  opset 20, Conv-11, Relu-14, Resize-19 without antialias
After:   opset 17, the nodes as they were
A node may stay as it is if its operator did not change between the two opsets, or if the older
one has every attribute and input that the node uses, with the same defaults, and allows its types
and values, and no opset between redefined it. Exact, and checked by ONNX's own checker afterwards.
Refuses, as an error with the node's name, what has no such form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema

from edgecc.errors import BuildError
from edgecc.graph import without_weights
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class LowerOpset(Pass):
    """The opset number goes down to what the target reads, if no operator minds."""

    name: ClassVar[str] = "lower_opset"
    room: ClassVar[Room] = "legalise"

    opset: int = 17
    """The newest opset that the target reads."""
    reader: str = ""
    """What reads it, for the error message."""

    def run(self, model: ir.Model) -> list[Decision]:
        """Lower the number, or say which node stands in the way."""
        current = model.opset_imports.get("", 0)
        if current <= self.opset:
            return []
        for node in model.graph.all_nodes():
            problem = _problem(node, current, self.opset) if node.domain == "" else None
            if problem:
                raise BuildError(
                    f"{self.reader or 'the target'} reads opset {self.opset} at most; this model "
                    f"needs {current} (node '{node.name}': {problem})",
                    hint=f"export the model at opset {self.opset}",
                )
        model.graph.opset_imports[""] = self.opset
        try:
            onnx.checker.check_model(without_weights(model))
        except onnx.checker.ValidationError as error:
            raise BuildError(
                f"under opset {self.opset} the model is not valid: {str(error).splitlines()[0]}",
                hint=f"export the model at opset {self.opset}",
            ) from None
        note = f"opset {current} is now {self.opset}"
        return [Decision(model.graph.name or "graph", self.name, note=note)]


def _problem(node: ir.Node, current: int, wanted: int) -> str | None:
    """Why a node does not mean the same at opset `wanted`; None if it does."""
    kind = node.op_type
    if not onnx.defs.has(kind, wanted, ""):
        return f"{kind} came with opset {min(_versions(kind))}"
    new, old = onnx.defs.get_schema(kind, current, ""), onnx.defs.get_schema(kind, wanted, "")
    if new.since_version == old.since_version:
        return None
    if old.deprecated or any(wanted < v <= current for v in REDEFINED.get(kind, ())):
        return f"{kind} means something else there"
    return (
        _attributes_problem(node, new, old, wanted)
        or _types_problem(node, new.inputs, old.inputs, node.inputs, "input")
        or _types_problem(node, new.outputs, old.outputs, node.outputs, "output")
    )


def _attributes_problem(node: ir.Node, new: OpSchema, old: OpSchema, wanted: int) -> str | None:
    kind = node.op_type
    if extra := [name for name in node.attributes if name not in old.attributes]:
        return f"{kind} has no attribute '{extra[0]}' there"
    if moved := [name for name in old.attributes if name not in new.attributes]:
        return f"{kind} takes '{moved[0]}' as an attribute there"
    for name, attribute in new.attributes.items():
        if name in node.attributes or name not in old.attributes:
            continue
        if attribute.default_value != old.attributes[name].default_value:
            return f"'{name}' of {kind} has another default there"
    for name, since, values in NEW_VALUES.get(kind, ()):
        if wanted < since and node.attributes.get_string(name, "") in values:
            return f"{kind} knows no {name}={node.attributes.get_string(name, '')} there"
    axis = node.attributes.get_int("axis", 0)
    return f"{kind} takes no negative axis there" if wanted < 11 and axis < 0 else None


def _types_problem(
    node: ir.Node,
    new: Sequence[OpSchema.FormalParameter],
    old: Sequence[OpSchema.FormalParameter],
    values: Sequence[ir.Value | None],
    what: str,
) -> str | None:
    for index, value in enumerate(values):
        here, there = _formal(new, index), _formal(old, index)
        if value is None and there is not None and there.option == _SINGLE:
            return f"{node.op_type} needs its {what} {index} there"
        if value is None:
            continue
        if here is None or there is None or here.name != there.name:
            return f"{node.op_type} takes no {what} {index} of this meaning there"
        if value.dtype is None or not isinstance(value.type, ir.TensorType):
            return f"the type of its {what} {index} is not known"
        kind = f"tensor({_ONNX_NAMES.get(value.dtype, '?')})"
        if kind not in there.types:
            return f"{node.op_type} takes no {kind} there"
    return None


def _versions(kind: str) -> set[int]:
    """The opsets in which an operator was defined anew."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return {s.since_version for s in schemas if s.name == kind and s.domain == ""}


def _formal(
    formals: Sequence[OpSchema.FormalParameter], index: int
) -> OpSchema.FormalParameter | None:
    """The formal parameter at a place; the last one may stand for many."""
    if index < len(formals):
        return formals[index]
    variadic = formals and formals[-1].option == OpSchema.FormalParameterOption.Variadic
    return formals[-1] if variadic else None


_SINGLE = OpSchema.FormalParameterOption.Single
REDEFINED = {
    "GridSample": (20,),  # its modes have other names
    "GroupNormalization": (21,),  # its scale goes by channel
    "Hardmax": (13,),  # along one axis, where it was all behind it
    "LogSoftmax": (13,),
    "RoiAlign": (16,),  # its pixels lie half a pixel elsewhere
    "Softmax": (13,),
}
"""Operators whose meaning changed though their form did not, and with which opset."""
NEW_VALUES = {
    "Pad": (("mode", 19, ("wrap",)),),
    "Resize": (("coordinate_transformation_mode", 19, ("half_pixel_symmetric",)),),
    "ScatterElements": (("reduction", 18, ("max", "min")),),
    "ScatterND": (("reduction", 18, ("max", "min")),),
}
"""Attributes, the opset from which they know these values, and the values."""
_ONNX_NAMES: dict[ir.DataType | None, str] = {
    ir.DataType.FLOAT: "float",
    ir.DataType.DOUBLE: "double",
    **{d: d.name.lower() for d in ir.DataType if d not in (ir.DataType.FLOAT, ir.DataType.DOUBLE)},
}
