"""remove_unused: nodes and initialisers that no output needs, by onnx-ir's pass. Exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class RemoveUnused(Pass):
    """What no output needs goes; inputs stay, used or not."""

    name: ClassVar[str] = "remove_unused"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Remove the nodes and initialisers without a reader."""
        before = {node: node.name or node.op_type for node in model.graph}
        RemoveUnusedNodesPass()(model)
        left = set(model.graph)
        gone = [name for node, name in before.items() if node not in left]
        return [Decision(name, self.name, note="removed") for name in gone]
