"""ONNX's own light models, which its package brings without weights, built by the TVM backend."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, numpy_helper

import edgecc
from edgecc import job, oracle
from edgecc.model import load

pytestmark = pytest.mark.slow
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = sorted(path.stem for path in LIGHT.glob("*.onnx"))
LOWERED = 1e-4
INPUT = (1, 3, 224, 224)
Weights = dict[str, np.ndarray]


def with_weights(name: str) -> onnx.ModelProto:
    """A light model with random weights in place of its ConstantOfShape nodes.

    The last layer is scaled such that it ends in numbers near 1: a Softmax of larger ones is 0 or
    1, whatever stands before it.
    """
    model = onnx.load(LIGHT / f"{name}.onnx")
    model.ir_version = 8  # where initialisers need not be inputs
    graph = model.graph
    sizes = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    use = {name: (node, i) for node in nodes for i, name in enumerate(node.input)}
    random = np.random.default_rng(oracle.SEED)
    weights = {
        node.output[0]: random_weight(random, tuple(sizes[node.input[0]]), *use[node.output[0]])
        for node in graph.node
        if node.op_type == "ConstantOfShape"
    }
    del graph.node[:]
    graph.node.extend(nodes)
    last = [node for node in nodes if node.op_type in ("Conv", "Gemm")][-1]
    shapes = {nodes[0].input[0]: INPUT}
    given = oracle.random_inputs(load(LIGHT / f"{name}.onnx"), shapes)  # as a build does
    spread = float(tensor(model, weights, last.output[0], given).std())
    weights |= {n: weights[n] / np.float32(spread) for n in last.input[1:] if n in weights}
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in weights.items())
    return model


def random_weight(
    random: np.random.Generator, shape: tuple[int, ...], user: NodeProto, index: int
) -> np.ndarray:
    numbers = random.standard_normal(shape).astype(np.float32)
    if user.op_type in ("Conv", "Gemm") and index == 1:
        return numbers * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    if user.op_type == "BatchNormalization" and index == 4:  # a variance
        return 1 + np.float32(0.1) * np.abs(numbers)
    is_scale = (user.op_type, index) == ("BatchNormalization", 1) or user.op_type == "Unsqueeze"
    return np.float32(is_scale) + np.float32(0.1) * numbers


def tensor(
    model: onnx.ModelProto, weights: Weights, name: str, given: dict[str, np.ndarray]
) -> np.ndarray:
    """A tensor inside the model."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in weights.items())
    del probe.graph.output[:]
    probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        onnx.save(probe, path)
        return oracle.run(path, given)[name]


@pytest.mark.parametrize("name", MODELS)
def test_build_with_tvm(name: str) -> None:
    pytest.importorskip("tvm", reason="needs pip install 'edgecc[arm]'", exc_type=ImportError)
    with tempfile.TemporaryDirectory() as folder:  # pytest would keep them: 2 GB for VGG
        path = Path(folder) / "model.onnx"
        onnx.save(with_weights(name), path)
        built = job.build(path, backend="tvm", passes="", out=Path(folder) / "out")
        assert built.report["verify"]["lowered"]["max_rel_error"] < LOWERED
        assert built.report["artifact"]["details"].get("refused") is None
        with edgecc.open(built.folder) as session:
            (spec,) = session.inputs
            found = session.run({spec.name: np.ones(INPUT, np.float32)})
    (array,) = found.values()
    assert np.ptp(array) > 1e-4  # the output tells its inputs' numbers apart
