"""A narrow network computed as it is meant to be: rounded where it says so, summed up in float32.

onnxruntime's own int8 kernels would not do: on processors without VNNI they saturate sums of two
products (its documentation advises 7 bits of weights there), which no GPU does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from edgecc.bundle import save_model
from edgecc.oracle import specs
from edgecc.target import Arrays, Session, TensorSpec, checked_inputs


class Simulated(Session):
    """A model in onnxruntime, its Q/DQ pairs and casts computed one by one."""

    def __init__(self, model: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self.inputs: tuple[TensorSpec, ...] = tuple(specs(ir.load(model)))
        self.outputs: tuple[TensorSpec, ...] = tuple(
            TensorSpec(value.name, _numpy_name(value.type), tuple(value.shape))
            for value in self._session.get_outputs()
        )

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run the network once. Errors: `edgecc.errors.UsageError` for what it does not take."""
        names = [spec.name for spec in self.outputs]
        found = self._session.run(names, checked_inputs(self.inputs, inputs))
        return dict(zip(names, found, strict=True))


def as_float16(model: Path, out: Path) -> Path:
    """Write the network with everything that it holds rounded to float16: weights, inputs, and
    what every node makes.

    Numbers above 65504 become infinite, as they do on the device.
    """
    graph = ir.load(model)
    for value in list(graph.graph.initializers.values()):
        tensor = value.const_value
        is_number = any(_is_arithmetic(use.node, use.idx) for use in value.uses())
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and is_number:
            with np.errstate(over="ignore"):
                narrow = tensor.numpy().astype(np.float16).astype(np.float32)
            value.const_value = ir.tensor(narrow, name=value.name)
    onnx_typed = onnx.shape_inference.infer_shapes(ir.to_proto(graph))
    graph = ir.from_proto(onnx_typed)
    made = [value for node in graph.graph for value in node.outputs]
    for value in [*graph.graph.inputs, *made]:
        if value.dtype == ir.DataType.FLOAT and value.uses() and not value.is_initializer():
            _round(graph.graph, value)
    return save_model(graph, out)


def _round(graph: ir.Graph, value: ir.Value) -> None:
    """Round what the readers of `value` read."""
    readers = [use for use in value.uses() if _is_arithmetic(use.node, use.idx)]
    narrow = ir.Node("", "Cast", [value], [ir.AttrInt64("to", ir.DataType.FLOAT16)])
    wide = ir.Node("", "Cast", narrow.outputs, [ir.AttrInt64("to", ir.DataType.FLOAT)])
    for use in readers:
        use.node.replace_input_with(use.idx, wide.outputs[0])
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, [narrow, wide])
    else:
        graph.insert_before(graph[0], [narrow, wide])


def _is_arithmetic(node: ir.Node, index: int) -> bool:
    """Whether an input of a node is computed with; what sizes follow from stays exact."""
    return index == 0 or node.op_type not in ("Resize", "Upsample")


def _numpy_name(kind: str) -> str:
    """numpy's name of onnxruntime's "tensor(float)"."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)
