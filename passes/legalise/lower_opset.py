"""lower_opset: the same network under an older opset number.

Before:  opset 20, y = Gelu(x), z = Softmax<axis=1>(y)                 y: (N, C, H, W)
After:   opset 11, Gelu as Erf, Add and Mul; Softmax between two Transposes
Goes down one opset at a time. An operator that this opset brought or changed is said in the terms
of the one before by its line in `older.table`; one without a line may stay if, by ONNX's schemas,
the older form has every attribute and input that it uses, with the same defaults, and its types.
Exact but for rounding. At 17, 13, 11 and the opset that is asked for, ONNX's checker and strict
type inference must accept the model.
Refuses, as an error that names every such node, what has no exact form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import onnx
import onnx_ir as ir

from edgecc.conv import Refusal
from edgecc.errors import BuildError, ModelError
from edgecc.graph import all_names, without_weights
from edgecc.rewrite import Decision, Pass, Room
from passes.legalise.older import schemas
from passes.legalise.older.emitter import Emitter
from passes.legalise.older.table import BRIDGES
from passes.prepare.infer_shapes import InferShapes

CHECKED = (20, 17, 13, 11)
"""The opsets that the model must be sound under, on its way down."""
MOST_NAMED = 3
"""How many of the nodes that stand in the way an error tells of."""


@dataclass(frozen=True)
class LowerOpset(Pass):
    """The opset goes down to what the target reads, its operators said in older terms."""

    name: ClassVar[str] = "lower_opset"
    room: ClassVar[Room] = "legalise"

    opset: int = 17
    """The newest opset that the target reads."""
    reader: str = ""
    """What reads it, for the error message."""

    def run(self, model: ir.Model) -> list[Decision]:
        """Go down, or say which nodes stand in the way."""
        current = model.opset_imports.get("", 0)
        model.ir_version = min(model.ir_version, _ir_version(self.opset))
        if current <= self.opset:
            return []
        descent = _Descent(model, self.name, self.opset)
        for opset in range(current, self.opset, -1):
            descent.step(opset)
            if not descent.stuck and (opset - 1 in CHECKED or opset - 1 == self.opset):
                descent.check()
        if descent.stuck:
            raise self._error(current, descent.stuck)
        note = f"opset {current} is now {self.opset}"
        return [*descent.decisions, Decision(model.graph.name or "graph", self.name, note=note)]

    def _error(self, current: int, stuck: dict[ir.Node, str]) -> BuildError:
        (first, reason), *others = [(node.name, reason) for node, reason in stuck.items()]
        more = ", ".join(f"'{name}' ({why})" for name, why in others[: MOST_NAMED - 1])
        more += ", ..." if len(others) >= MOST_NAMED else ""
        return BuildError(
            f"{self.reader or 'the target'} reads opset {self.opset} at most; this model needs "
            f"{current} (node '{first}': {reason})"
            + (f" and {len(others)} more: {more}" if others else ""),
            hint=f"export the model at opset {self.opset}",
        )


@dataclass
class _Descent:
    """A model on its way down."""

    model: ir.Model
    by: str
    wanted: int
    decisions: list[Decision] = field(default_factory=list)
    stuck: dict[ir.Node, str] = field(default_factory=dict)
    """The nodes that cannot go further, and why."""

    def __post_init__(self) -> None:
        self.names = all_names(self.model.graph)
        self.given = set(self.model.graph.all_nodes())

    def step(self, opset: int) -> None:
        """Go from `opset` to the one before."""
        moved = False
        for node in list(self.model.graph.all_nodes()):
            if node.domain != "" or node in self.stuck or not schemas.changed(node, opset):
                continue
            name, kind = node.name or node.op_type, node.op_type
            outcome = self._restate(node, opset)
            if isinstance(outcome, Refusal):
                if node in self.given or not self.stuck:  # else types are no longer inferred
                    self.stuck[node] = str(outcome)
            elif outcome:
                moved = True
                note = f"{kind} (opset {opset}): {outcome}"
                self.decisions.append(Decision(name, self.by, note=note))
        self.model.graph.opset_imports[""] = opset - 1
        if moved and not self.stuck:
            self.infer_types()

    def check(self) -> None:
        """ONNX's checker, but that an output may lack a shape, and strict inference."""
        light = without_weights(self.model)
        for output in light.graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.shape.SetInParent()
        try:
            onnx.checker.check_model(light)
        except onnx.checker.ValidationError as error:
            raise self._invalid(error) from None
        self.infer_types()

    def infer_types(self) -> None:
        """Fill in the types of new values; what is not sound is an error."""
        try:
            InferShapes().run(self.model)
        except ModelError as error:
            raise self._invalid(error) from None

    def _invalid(self, error: Exception) -> BuildError:
        opset = self.model.opset_imports[""]
        return BuildError(
            f"under opset {opset} the model is not valid: {str(error).splitlines()[0]}",
            hint=f"export the model at opset {self.wanted}",
        )

    def _restate(self, node: ir.Node, opset: int) -> str | Refusal | None:
        """Say one node in the terms of the opset before."""
        schemas.leave_out_defaults(node, opset)
        bridge = BRIDGES.get((node.op_type, opset))
        outcome = bridge(node, Emitter(node, opset - 1, self.by, self.names)) if bridge else None
        if isinstance(outcome, Refusal) or node.graph is None:
            return outcome
        restated = outcome is not None
        reason = schemas.unknown(node, opset - 1) if restated else schemas.misfit(node, opset)
        return Refusal(reason) if reason else outcome


def _ir_version(opset: int) -> int:
    """The IR version that came with an opset; not below 4, where initialisers are inputs."""
    known = min(max(opset, 1), onnx.defs.onnx_opset_version())
    ids = [onnx.helper.make_opsetid("", known)]
    return max(4, int(onnx.helper.find_min_ir_version_for(ids)))
