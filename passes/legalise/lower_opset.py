"""lower_opset: the same operators under an older opset number, where they mean the same there.

Before:  opset 20, Conv-11, Relu-14, Resize-19 without antialias
After:   opset 17, the nodes as they were
A node may stay as it is if its operator did not change between the two opsets, or if the older
one has every attribute and input that the node uses and allows its types. Exact, and checked by
ONNX's own checker afterwards. Refuses, as an error with the node's name, what has no such form.
"""

from __future__ import annotations

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
        onnx.checker.check_model(without_weights(model))
        note = f"opset {current} is now {self.opset}"
        return [Decision(model.graph.name or "graph", self.name, note=note)]


def _problem(node: ir.Node, current: int, wanted: int) -> str | None:
    """Why a node does not mean the same at opset `wanted`; None if it does."""
    kind = node.op_type
    if not onnx.defs.has(kind, wanted, ""):
        return f"{kind} came with opset {onnx.defs.get_schema(kind, current, '').since_version}"
    new, old = onnx.defs.get_schema(kind, current, ""), onnx.defs.get_schema(kind, wanted, "")
    if new.since_version == old.since_version:
        return None
    if extra := [name for name in node.attributes if name not in old.attributes]:
        return f"{kind} has no attribute '{extra[0]}' there"
    if moved := [name for name in old.attributes if name not in new.attributes]:
        return f"{kind} takes '{moved[0]}' as an attribute there"
    return _inputs_problem(node, new, old)


def _inputs_problem(node: ir.Node, new: OpSchema, old: OpSchema) -> str | None:
    used = [(i, value) for i, value in enumerate(node.inputs) if value is not None]
    for index, value in used:
        here, there = _formal(new, index), _formal(old, index)
        if here is None or there is None or here.name != there.name:
            return f"{node.op_type} takes no input {index} of this meaning there"
        wanted = str(ir.serde.serialize_type(value.type)) if value.type else ""
        kind = f"tensor({_ONNX_NAMES.get(value.dtype, '?')})" if value.dtype else wanted
        if kind not in there.types:
            return f"{node.op_type} takes no {kind} there"
    return None


def _formal(schema: OpSchema, index: int) -> OpSchema.FormalParameter | None:
    """The formal parameter of an input; the last one may stand for many."""
    formals = schema.inputs
    if index < len(formals):
        return formals[index]
    variadic = formals and formals[-1].option == OpSchema.FormalParameterOption.Variadic
    return formals[-1] if variadic else None


_ONNX_NAMES: dict[ir.DataType | None, str] = {
    ir.DataType.FLOAT: "float",
    ir.DataType.DOUBLE: "double",
    **{d: d.name.lower() for d in ir.DataType if d not in (ir.DataType.FLOAT, ir.DataType.DOUBLE)},
}
