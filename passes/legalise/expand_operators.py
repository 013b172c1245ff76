"""expand_operators: operators that an engine lacks become others that it has.

Before:  y = HardSwish(x)
After:   y = Mul(x, HardSigmoid<alpha=1/6, beta=1/2>(x))
The forms are in `older.activations` and `older.normalisations`, each with its formula, which is
ONNX's own. Exact but for rounding. Refuses a LayerNormalization whose mean is read, and what needs
a rank that is not known; unlike lower_opset, which uses the same forms, it leaves such a node be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from edgecc.conv import Refusal
from edgecc.errors import UsageError, did_you_mean
from edgecc.graph import all_names
from edgecc.rewrite import Decision, Pass, Room
from passes.legalise.older.emitter import Emitter
from passes.legalise.older.table import FORMS


@dataclass(frozen=True)
class ExpandOperators(Pass):
    """Operators that an engine lacks become others."""

    name: ClassVar[str] = "expand_operators"
    room: ClassVar[Room] = "legalise"

    operators: str = " ".join(FORMS)
    """Those to expand, with spaces between."""

    def __post_init__(self) -> None:
        for kind in self.operators.split():
            if kind not in FORMS:
                raise UsageError(
                    f"expand_operators knows no form of {kind}", hint=did_you_mean(kind, FORMS)
                )

    def run(self, model: ir.Model) -> list[Decision]:
        """Expand every such operator, and those that the forms themselves are made of."""
        kinds, decisions, refused = set(self.operators.split()), [], set()
        names, opset = all_names(model.graph), model.opset_imports.get("", 0)
        while found := [
            node
            for node in model.graph.all_nodes()
            if node.op_type in kinds and node.domain == "" and node not in refused
        ]:
            for node in found:
                name = node.name or node.op_type
                outcome = FORMS[node.op_type](node, Emitter(node, opset, self.name, names))
                if isinstance(outcome, Refusal):
                    refused.add(node)
                    decisions.append(Decision(name, self.name, refusal=str(outcome)))
                else:
                    decisions.append(Decision(name, self.name, note=f"{node.op_type} is {outcome}"))
        return decisions
