"""The type and shape of every tensor: ONNX's own inference, and onnxruntime's beyond it."""

from __future__ import annotations

import onnx
from google.protobuf.message import EncodeError

from edgecc.errors import BuildError

# ONNX knows no shape behind these, which is their input's.
NO_INFERENCE = ("GroupNormalization", "MeanVarianceNormalization")
ELEMENTS = {"float": "FLOAT", "double": "DOUBLE"}  # onnxruntime's words; others are ONNX's


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of the same tensors, every shape that ONNX can infer in its `value_info`.

    Errors: `BuildError`.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.op_type in NO_INFERENCE and node.domain in ("", "ai.onnx"):
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]
    try:
        return onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except (onnx.shape_inference.InferenceError, EncodeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BuildError(
            f"ONNX cannot infer the model's shapes: {lines[-1] if lines else error!r}"
        ) from error


def types_of(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Return the type of every tensor; operators that ONNX does not know are onnxruntime's.

    A tensor of which neither can tell is left out. Errors: `BuildError`.
    """
    inferred = with_shapes(model)
    known = _listed(inferred)
    made = [name for node in inferred.graph.node for name in node.output if name]
    open_ones = [name for name in made if name not in known or not _has_rank(known[name])]
    if not open_ones:
        return known
    told = onnx.ModelProto()
    told.CopyFrom(inferred)
    for value in _asked(model, open_ones):
        told.graph.value_info.append(value)
    return _listed(with_shapes(told))


def _listed(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    graph = model.graph
    weights = {
        weight.name: onnx.helper.make_tensor_type_proto(weight.data_type, weight.dims)
        for weight in graph.initializer
    }
    values = [*graph.value_info, *graph.input, *graph.output]
    return {**weights, **{v.name: v.type for v in values if v.type.WhichOneof("value")}}


def _has_rank(kind: onnx.TypeProto) -> bool:
    return bool(kind.WhichOneof("value") != "tensor_type" or kind.tensor_type.HasField("shape"))


def _asked(model: onnx.ModelProto, names: list[str]) -> list[onnx.ValueInfoProto]:
    """Return what onnxruntime says of tensors inside the model."""
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    returned = {value.name for value in probe.graph.output}
    for name in names:
        if name not in returned:
            probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises a type of its own for each status
        raise BuildError(f"onnxruntime does not take the model: {error}") from None
    found = []
    for value in session.get_outputs():
        word = value.type.removeprefix("tensor(").removesuffix(")")
        element = ELEMENTS.get(word, word.upper())
        if value.name in names and element in onnx.TensorProto.DataType.keys():  # noqa: SIM118
            kind = onnx.TensorProto.DataType.Value(element)
            found.append(onnx.helper.make_tensor_value_info(value.name, kind, value.shape))
    return found
