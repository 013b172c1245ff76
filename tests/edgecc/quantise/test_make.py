"""A network to int8, whole: files, and what the report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from classifier import network as classifier
from helpers import outputs
from sampled import batches, copy_of, samples
from test_balance import pair

from edgecc.errors import UsageError
from edgecc.quantise import QuantWish, Written, quantise_model
from edgecc.quantise.cache import read_cache
from edgecc.quantise.placement import placement_problems

X = samples(32)


def made(
    folder: Path, model: onnx.ModelProto, opset: int = 17, **wish: Any
) -> tuple[Written, ir.Model]:
    graph = copy_of(model)
    graph.graph.opset_imports[""] = opset
    (folder / "scratch").mkdir()
    written = quantise_model(
        graph, folder / "model.onnx", batches(X, 8), QuantWish(**wish), folder / "scratch"
    )
    json.dumps(written.record, allow_nan=False)
    return written, graph


def test_both_forms(tmp_path: Path) -> None:
    written, graph = made(tmp_path, classifier(), form="both")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
        "calibration.cache",
        "model.int8.onnx",
        "model.onnx",
    ]
    assert written.qdq is not None
    assert placement_problems(ir.load(written.qdq)) == []
    assert written.cache is not None
    digits, scales = read_cache(written.cache)
    assert digits == "8502"
    assert set(scales) == {"x", *(v.name for node in graph.graph for v in node.outputs)}
    record = written.record
    assert record["samples"] == 24
    assert record["held_out"] is True
    assert record["method"] == "mse"
    assert record["layers"] == 7
    int8, half = record["accuracy"]["int8"], record["accuracy"]["float16"]
    assert 0 < half["rms_error"]["y"] < int8["rms_error"]["y"] < 0.1
    assert int8["top1_agreement"]["y"] > 0.7


def test_the_scales_of_both_forms_are_the_same(tmp_path: Path) -> None:
    written, _ = made(tmp_path, classifier(), form="both")
    assert written.qdq is not None
    assert written.cache is not None
    _, scales = read_cache(written.cache)
    for node in ir.load(written.qdq).graph:
        if node.op_type == "QuantizeLinear" and not node.inputs[0].is_initializer():
            scale = float(node.inputs[1].const_value.numpy())
            assert scale == pytest.approx(scales[node.inputs[0].name], rel=1e-6)


def test_the_model_written_is_balanced_and_computes_the_same(tmp_path: Path) -> None:
    written, graph = made(tmp_path, pair())
    (told,) = written.record["balanced"]
    assert told["convolution"] == "Conv_a"
    before, after = outputs(pair(), x=X)["y"], outputs(onnx.load(written.model), x=X)["y"]
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    np.testing.assert_array_equal(outputs(graph, x=X)["y"], after)


def test_balancing_can_be_left_out(tmp_path: Path) -> None:
    written, graph = made(tmp_path, pair(), balance=False)
    assert written.record["balanced"] == []
    np.testing.assert_array_equal(outputs(graph, x=X)["y"], outputs(pair(), x=X)["y"])


def test_old_opsets_keep_the_model_and_its_names(tmp_path: Path) -> None:
    """TensorRT 7.1 reads opset 11; what int8 costs is measured on a QDQ graph of opset 13."""
    written, graph = made(tmp_path, classifier(), 11, form="both", release="7.1.3")
    assert ir.load(written.model).opset_imports[""] == 11
    assert written.cache is not None
    digits, scales = read_cache(written.cache)
    assert digits == "7103"
    assert set(scales) == {"x", *(v.name for node in graph.graph for v in node.outputs)}
    assert written.qdq is not None
    assert ir.load(written.qdq).opset_imports[""] == 13
    assert written.record["layers"] == 7
    assert 0 < written.record["accuracy"]["int8"]["rms_error"]["y"] < 0.1


def test_the_cache_alone(tmp_path: Path) -> None:
    written, _ = made(tmp_path, classifier(), form="cache")
    assert written.qdq is None
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
        "calibration.cache",
        "model.onnx",
    ]


def test_layers_are_kept_for_a_loss_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    whole = made(tmp_path / "a", classifier())[0].record["accuracy"]["int8"]["rms_error"]["y"]
    (tmp_path / "b").mkdir()
    written, _ = made(tmp_path / "b", classifier(), most=whole / 2)
    assert 0 < len(written.kept) < 7
    assert written.record["accuracy"]["int8"]["rms_error"]["y"] <= whole / 2 + 1e-6
    assert next(iter(written.record["sensitivity"])) == written.kept[0]


def test_the_users_own_layers_are_kept(tmp_path: Path) -> None:
    written, _ = made(tmp_path, classifier(), keep=("Gemm_y",))
    assert written.kept == ("Gemm_y",)
    assert written.record["in_float"] == {"Gemm_y": "it is kept as it is"}
    with pytest.raises(UsageError, match="no node 'fc'"):
        made(tmp_path / "scratch", classifier(), keep=("fc",))
