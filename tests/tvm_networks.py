"""Small networks for the TVM backend, built here and run in onnxruntime."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgecc.target import Artifact, Backend, Target

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'edgecc[arm]'")
pytest.importorskip("ziglang", reason="Zig is not installed: pip install 'edgecc[arm]'")

from targets.tvm import TvmBackend
from targets.tvm.compile import compiled
from targets.tvm.frontend import to_relax
from targets.tvm.lower import Lowered

HOST = Target(name="host", title="t", arch="host", backend="tvm", backends=("tvm",), passes="")
Weights = dict[str, np.ndarray]
rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def network(
    opset: int,
    nodes: list[onnx.NodeProto],
    weights: Weights,
    shape: tuple[int, ...],
    outputs: Sequence[str] = (),
) -> onnx.ModelProto:
    """x -> `outputs` or the last node's, shapes as onnxruntime computes them."""
    for index, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{index}"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs or nodes[-1].output],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    arrays = by_onnxruntime(model, given(model))
    for value, array in zip(list(model.graph.output), arrays, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, array.shape))
    return model


def given(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    values = np.random.default_rng(1)
    return {
        value.name: values.standard_normal(
            [size.dim_value for size in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in model.graph.input
    }


def by_onnxruntime(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(array) for array in session.run(None, inputs)]


def by_tvm(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the network computes once compiled, without linking."""
    return run_lowered(model, inputs, HOST)[0]


def run_lowered(
    model: onnx.ModelProto, inputs: dict[str, np.ndarray], target: Target
) -> tuple[list[np.ndarray], Lowered]:
    """What the network computes once compiled for `target`, and how it was lowered."""
    import tvm
    from tvm.runtime.vm import VirtualMachine

    executable, lowered = compiled(to_relax(model), target)
    machine = VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(inputs[v.name]) for v in model.graph.input))
    values = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [value.numpy() for value in values], lowered


def error(wanted: np.ndarray, got: np.ndarray) -> float:
    assert (wanted.shape, wanted.dtype) == (got.shape, got.dtype)
    return float(np.abs(wanted - got).max() / np.abs(wanted).max())


def build(
    model: onnx.ModelProto,
    folder: Path,
    target: Target = HOST,
    backend: Backend | None = None,
) -> Artifact:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return (backend or TvmBackend()).build(folder / "model.onnx", target, folder)


def classifier() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"], group=4, dilations=[2, 2], pads=[2, 2, 2, 2]),
        node("MaxPool", ["c1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p1"], ["f1"]),
        node("Gemm", ["f1", "w2", "b2"], ["g2"], transB=1, name="fc/Gemm"),
        node("Softmax", ["g2"], ["/fc/prob"], axis=1),
    ]
    weights = {
        "w0": normal(8, 3, 3, 3), "b0": normal(8), "w1": normal(8, 2, 3, 3),
        "w2": normal(5, 8 * 4 * 4), "b2": normal(5),
    }  # fmt: skip
    return network(17, nodes, weights, (1, 3, 16, 16))


def classifier_of(folder: Path) -> onnx.ModelProto:
    return onnx.load(folder / "model.onnx")


def run_on_host(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "tvm" / "edgecc-run", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
