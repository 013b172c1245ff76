"""lift_constants: every constant is an initialiser, and no initialiser is an input.

Before:  y = Constant<value>(); initialisers listed among the inputs (IR version 3)
After:   y is an initialiser; the inputs are what a user has to feed
Exact; an initialiser that could be overridden at run time no longer can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveInitializersFromInputsPass

from edgecc.graph import NEWEST_IR
from edgecc.rewrite import Decision, Pass, Room

OLDEST_IR = 8
"""Initialisers may stand outside the inputs from IR version 4; 8 (ONNX 1.10) is read by all."""


@dataclass(frozen=True)
class LiftConstants(Pass):
    """Constant nodes become initialisers; initialisers leave the inputs."""

    name: ClassVar[str] = "lift_constants"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Lift the constants and clear the inputs."""
        lifted = [
            Decision(node.name or node.outputs[0].name or "", self.name, note="lifted")
            for node in model.graph
            if node.op_type == "Constant" and node.domain == ""
        ]
        inputs = [value.name or "" for value in model.graph.inputs if value.is_initializer()]
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        RemoveInitializersFromInputsPass()(model)
        model.ir_version = min(max(model.ir_version, OLDEST_IR), NEWEST_IR)
        return lifted + [Decision(name, self.name, note="no longer an input") for name in inputs]
