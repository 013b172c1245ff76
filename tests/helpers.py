"""Small models as text, their rewrites as text, and onnxruntime's opinion of both."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from edgecc import catalog, oracle
from edgecc.rewrite import Decision


def conv_model(
    out_channels: int,
    in_channels: int,
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    groups: int = 1,
    bias: bool = True,
    size: int = 11,
    dtype: type = np.float32,
    opset: int = 17,
) -> onnx.ModelProto:
    """A network of one convolution, "conv", from "x" to "y", with random weights."""
    random = np.random.default_rng(7)
    spatial = len(kernel)
    weight = random.standard_normal((out_channels, in_channels // groups, *kernel))
    weight /= np.sqrt(weight[0].size)  # so that outputs are near 1 and tolerances mean something
    constants = {"w": weight.astype(dtype)}
    if bias:
        constants["b"] = random.standard_normal(out_channels).astype(dtype)
    node = onnx.helper.make_node(
        "Conv",
        ["x", *constants],
        ["y"],
        name="conv",
        kernel_shape=list(kernel),
        strides=list(strides or [1] * spatial),
        pads=list(pads or [0] * 2 * spatial),
        dilations=list(dilations or [1] * spatial),
        group=groups,
    )
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = onnx.helper.make_graph(
        [node],
        "one_convolution",
        [onnx.helper.make_tensor_value_info("x", kind, [1, in_channels, *[size] * spatial])],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def parse(text: str, weights: dict[str, Any] | None = None, *, opset: int = 17) -> onnx.ModelProto:
    """A model from ONNX's textual syntax (a graph), its `weights` as initialisers."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, array in (weights or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return model


def normal(*shape: int, seed: int = 3) -> np.ndarray:
    """Random float32 numbers, the same in every run."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run_passes(model: onnx.ModelProto, text: str) -> tuple[ir.Model, list[Decision]]:
    """Apply a pipeline to a copy of `model`; return the copy and what was decided."""
    copy = ir.from_proto(onnx.ModelProto.FromString(model.SerializeToString()))
    reports = catalog.pipeline(text).run(copy)
    return copy, [decision for report in reports for decision in report.decisions]


def outputs(model: onnx.ModelProto | ir.Model, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What onnxruntime computes."""
    proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(proto, path)
        return oracle.run(path, inputs)


def random_inputs(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Inputs of fixed sizes for `model`."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: np.random.default_rng(1)
        .standard_normal([d.dim_value for d in value.type.tensor_type.shape.dim])
        .astype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        for value in model.graph.input
        if value.name not in weights
    }


def largest_gap(before: onnx.ModelProto, after: ir.Model) -> float:
    """The largest absolute difference between the outputs of two models on the same inputs."""
    inputs = random_inputs(before)
    reference, found = outputs(before, **inputs), outputs(after, **inputs)
    assert list(reference) == list(found)
    return max(
        float(np.max(np.abs(reference[name].astype(np.float64) - found[name]))) for name in found
    )


def operators(model: ir.Model) -> list[str]:
    """The nodes of a model as text: ["Conv 4x8x1x1", "Conv 12x6x3x3 s2 p1 g2 bias", "Relu"]."""
    return [_text(node) for node in model.graph]


def _text(node: ir.Node) -> str:
    if node.op_type not in ("Conv", "ConvTranspose"):
        return node.op_type
    weight = node.inputs[1].const_value
    words = [node.op_type, "x".join(map(str, weight.shape.numpy()))]
    for letter, name, plain in (("s", "strides", 1), ("p", "pads", 0), ("d", "dilations", 1)):
        values = list(node.attributes[name].as_ints()) if name in node.attributes else []
        if any(value != plain for value in values):
            same = len(set(values)) == 1
            words.append(letter + (str(values[0]) if same else ",".join(map(str, values))))
    groups = node.attributes.get_int("group", 1)
    words += [f"g{groups}"] if groups > 1 else []
    words += ["bias"] if len(node.inputs) > 2 and node.inputs[2] is not None else []
    return " ".join(words)
