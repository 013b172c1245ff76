"""infer_shapes: the type and shape of every value, from ONNX's own inference, or an error.

onnx-ir's ShapeInferencePass logs and goes on when inference fails; here a failure is loud. Large
initialisers stay out of the message that is sent to ONNX, so that 2 GB is no limit.
ONNX's data propagation stays off: it builds shapes of any length that a model asks for, until
memory ends. fold_constants does the shape arithmetic, within bounds.
Exact: the numbers are untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_ir as ir

from edgecc.errors import ModelError
from edgecc.graph import without_weights
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class InferShapes(Pass):
    """Types and shapes of all values; failure is loud."""

    name: ClassVar[str] = "infer_shapes"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Infer and write back."""
        try:
            inferred = onnx.shape_inference.infer_shapes(
                without_weights(model), check_type=True, strict_mode=True, data_prop=False
            )
        except onnx.shape_inference.InferenceError as error:
            raise ModelError(
                f"the shapes of the model contradict each other: {_cause(error)}",
                hint="what it declares is not what it computes; export it again",
            ) from None
        _write_back(model.graph, inferred.graph)
        return []


def _write_back(graph: ir.Graph, inferred: onnx.GraphProto) -> None:
    """Take over what was found of a graph, and of the graphs inside its nodes."""
    known = {value.name: value.type for value in [*inferred.value_info, *inferred.output]}
    for node, proto in zip(graph, inferred.node, strict=True):
        for value in node.outputs:
            if value.name in known:
                value.type = ir.serde.deserialize_type_proto_for_type(known[value.name])
                value.shape = ir.serde.deserialize_type_proto_for_shape(known[value.name])
        bodies = {attribute.name: attribute.g for attribute in proto.attribute}
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.GRAPH:
                _write_back(attribute.as_graph(), bodies[name])


def _cause(error: Exception) -> str:
    """The line of ONNX's message that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
