"""The networks whose speed is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from engines import of_onnxruntime
from multiply_adds import multiply_adds
from single_layers import Layer, network
from speed_networks import Timed, resnet18, rewritten


def test_resnet18_has_the_multiply_adds_of_resnet18_and_keeps_the_scale(tmp_path: Path) -> None:
    model = resnet18()
    assert sum(multiply_adds(model, (1, 3, 224, 224)).values()) == 1_814_073_344
    onnx.save(model, tmp_path / "resnet18.onnx")
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    (y,) = of_onnxruntime(tmp_path / "resnet18.onnx", {"x": x}, 1).outputs()
    assert y.shape == (1, 1000)
    assert 0.1 < y.std() < 100


def test_a_network_is_rewritten_once_and_takes_any_size(tmp_path: Path) -> None:
    model = network(Layer(16, 16, 48), Layer(16, 16, 48), Layer(16, 16, 48))
    for value in (*model.graph.input, *model.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim[2:]):
            dim.dim_param = f"{value.name}{axis}"
    onnx.save(model, tmp_path / "net.onnx")
    timed = Timed("net", tmp_path / "net.onnx", {"x": (1, 16, 48, 48)})
    small = rewritten(timed, "basis", "host", tmp_path)
    assert 0.3 < small.macs <= 0.5
    made = (tmp_path / "net-basis-host/report.json").stat().st_mtime_ns
    assert rewritten(timed, "basis", "host", tmp_path) == small
    assert (tmp_path / "net-basis-host/report.json").stat().st_mtime_ns == made
    x = np.zeros((1, 16, 40, 24), np.float32)
    (y,) = of_onnxruntime(small.model, {"x": x}, 1).outputs()
    assert y.shape == x.shape


def test_the_nearest_is_taken_where_half_is_out_of_reach(tmp_path: Path) -> None:
    pointwise = [Layer(32, 32, 8, (1, 1))] * 9  # half of it all, and these are not rewritten
    onnx.save(network(Layer(32, 32, 8), *pointwise), tmp_path / "net.onnx")
    timed = Timed("net", tmp_path / "net.onnx", {})
    small = rewritten(timed, "spatial_svd", "host", tmp_path)
    assert 0.5 < small.macs < 0.7
