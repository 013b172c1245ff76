"""inline_functions: calls of model-local functions become the nodes of their bodies.

Before:  y = my.domain::Block(x), with Block in the model's functions
After:   the body of Block, its values renamed
Exact. Refuses nothing; functions that call themselves are an error of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes import PreconditionError
from onnx_ir.passes.common import InlinePass

from edgecc.errors import ModelError
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class InlineFunctions(Pass):
    """Model-local functions become plain nodes."""

    name: ClassVar[str] = "inline_functions"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Inline every call."""
        functions = [f"{key[0]}::{key[1]}" for key in model.functions]
        if not functions:
            return []
        try:
            InlinePass()(model)
        except PreconditionError as error:
            raise ModelError(f"the model's functions cannot be inlined: {error}") from None
        return [Decision(function, self.name, note="inlined") for function in functions]
