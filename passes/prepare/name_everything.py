"""name_everything: every node and value has a name, unlike all others, the same in every run.

Before:  a Conv without a name whose output is "123"
After:   a Conv named "Conv_123"
Nodes without a name are called after their operator and their first output, so that the name
stays when an unrelated part of the model changes. Exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from edgecc.rewrite import Decision, Pass, Room


class _AfterOutput:
    def generate_node_name(self, node: ir.Node) -> str:
        """Keep a node's name; else operator and first output."""
        return node.name or f"{node.op_type}_{node.outputs[0].name}"

    def generate_value_name(self, value: ir.Value) -> str:
        """Keep a value's name; else a plain one."""
        return value.name or "value"


@dataclass(frozen=True)
class NameEverything(Pass):
    """Names for nodes and values that have none, or not their own."""

    name: ClassVar[str] = "name_everything"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Name what has no name and rename doubles."""
        before = {node: node.name for node in model.graph}
        NameFixPass(_AfterOutput())(model)
        renamed = [node for node, name in before.items() if node.name != name]
        return [Decision(node.name or "", self.name, note="named") for node in renamed]
