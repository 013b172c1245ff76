"""What leads to an engine: the passes for each release, and what the board is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import normal, parse

from edgecc import catalog
from edgecc.errors import BuildError
from edgecc.target import CALIBRATION, INT8_MODEL, EngineWish
from passes.legalise.older.table import FORMS
from targets.tensorrt import backend, recipe
from targets.tensorrt.backend import TensorrtBackend
from targets.tensorrt.finding import Finding
from targets.tensorrt.versions import release

NETWORK = """net (float[2,3,8,8] x, float[4,3,3,3] w) => (float[2,4,6,6] y) {
    y = Conv (x, w)
}"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(parse(NETWORK, {"w": normal(4, 3, 3, 3)}, opset=13), path)
    return path


def test_every_form_is_asked_for_where_the_release_lacks_the_operator() -> None:
    assert set(recipe.HAVE_FORMS) == set(FORMS)
    texts = {
        version: recipe.legalisation(release(version), "xavier", on_dla=False)
        for version in ("7.1", "8.2", "8.5", "10.3", "10.15")
    }
    assert "HardSwish" in texts["8.2"]
    assert "HardSwish" not in texts["8.5"]
    assert "LayerNormalization" in texts["8.5"]
    assert "Mish" not in texts["10.3"]
    for version, opset in (("7.1", 11), ("8.2", 13), ("8.5", 17), ("10.3", 20)):
        assert f"lower_opset(opset={opset}, reader=TensorRT {version} of xavier)" in texts[version]
    for text in texts.values():
        catalog.pipeline(text)
        assert text.endswith("sanitise_names, infer_shapes")
    assert "narrow_int64" in texts["8.5"]
    assert "narrow_int64" not in texts["10.3"]


def test_a_dla_gets_the_forms_that_it_has_first() -> None:
    text = recipe.legalisation(release("8.5"), "xavier", on_dla=True)
    catalog.pipeline(text)
    assert text.index("gemm_to_conv") < text.index("lower_opset")


def test_the_board_is_told_which_releases_read_the_model(model: Path) -> None:
    told = recipe.engine(model, catalog.target("xavier"), EngineWish("fp16", None, "8.2.1"), ())
    assert told["tensorrt"] == ["8.2.1", "8.5.2", "8.4.1", "8.0.1"]  # 7.1.3 reads opset 11
    assert told["shapes"] == {"x": [2, 3, 8, 8]}
    assert (told["opset"], told["nodes"]) == (13, 1)
    assert told["calibration"] is None


@pytest.mark.parametrize("explicit", [True, False])
def test_int8_is_told_by_the_graph_or_by_a_cache(model: Path, explicit: bool) -> None:
    model.with_name(CALIBRATION).write_text("TRT-8502-EntropyCalibration2\n")
    if explicit:
        model.with_name(INT8_MODEL).write_bytes(model.read_bytes())
    read = recipe.engine_model(model, on_dla=False)
    wish = EngineWish("int8", None, "8.5.2")
    told = recipe.engine(read, catalog.target("xavier"), wish, ("conv",))
    assert read.name == (INT8_MODEL if explicit else "model.onnx")
    assert told["calibration"] == (None if explicit else CALIBRATION)
    assert told["layers_fp32"] == ([] if explicit else ["conv"])
    assert recipe.engine_model(model, on_dla=True) == model


PAIRS = """net (float[2,3,8,8] x, float[4,3,3,3] w) => (float[2,4,6,6] y) {
    q = QuantizeLinear (x, s, z)
    d = DequantizeLinear (q, s, z)
    y = Conv (d, w)
}"""


def pairs(path: Path) -> Path:
    numbers = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    onnx.save(parse(PAIRS, {"w": normal(4, 3, 3, 3), **numbers}, opset=13), path)
    return path


@pytest.mark.parametrize(
    ("wished", "built"), [("fp16", "int8"), ("fp32", "int8"), ("int8", "int8"), ("best", "best")]
)
def test_pairs_of_the_networks_own_ask_for_int8(wished: str, built: str, tmp_path: Path) -> None:
    wish = EngineWish(wished, None, "8.5.2")
    told = recipe.engine(pairs(tmp_path / "model.onnx"), catalog.target("xavier"), wish, ())
    assert told["precision"] == built


def test_a_board_without_int8_refuses_them(tmp_path: Path) -> None:
    model = pairs(tmp_path / "model.onnx")
    with pytest.raises(BuildError, match="nano has a GPU, which has no INT8; this network is"):
        TensorrtBackend().refuse(model, catalog.target("nano"))
    TensorrtBackend().refuse(model, catalog.target("xavier"))


def test_layers_that_leave_a_dla_are_told_by_reason() -> None:
    found = [Finding(name, "Flatten", "has no Flatten") for name in "abc"]
    found.append(Finding("", "DLA", "holds 8 pieces of a network at most"))
    notes = backend._fallback_notes(found)
    assert notes == [
        "the DLA: it holds 8 pieces of a network at most",
        "the DLA leaves a (Flatten) and 2 more Flatten to the GPU: it has no Flatten",
    ]
