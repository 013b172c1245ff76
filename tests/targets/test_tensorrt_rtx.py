"""Real engines of TensorRT for RTX, built on this machine, which need have no GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import conv_model, normal, parse, random_inputs

import edgecc
from edgecc import catalog, oracle
from edgecc.errors import BuildError, UsageError
from edgecc.target import INT8_MODEL, EngineWish, Precision
from edgecc.verify import verify_bundle
from targets.tensorrt_rtx.backend import ENGINE, RUNNER, TensorrtRtxBackend
from targets.tensorrt_rtx.run import Driver, NoGpuError

Save = Callable[..., Path]
RTX = catalog.target("rtx")
ALL = ["7.5", "8.0", "8.6", "8.9", "12.0", "12.1"]


def gpu() -> str | None:
    """The compute capability of this machine's GPU."""
    try:
        return "{}.{}".format(*Driver().capability)
    except NoGpuError:
        return None


without_gpu = pytest.mark.skipif(gpu() is not None, reason="there is a GPU")


@pytest.fixture
def rtx() -> TensorrtRtxBackend:
    pytest.importorskip("tensorrt_rtx", reason="pip install 'edgecc[rtx]'")
    return TensorrtRtxBackend()


def at(precision: Precision) -> TensorrtRtxBackend:
    return TensorrtRtxBackend(precision)


def classifier() -> onnx.ModelProto:
    return parse(
        """g (float[1,3,16,16] x) => (float[1,5] y) {
            a = Conv <pads=[1,1,1,1]> (x, w)  b = Relu(a)  c = GlobalAveragePool(b)
            f = Flatten(c)  y = Gemm <transB=1> (f, v)
        }""",
        {"w": normal(8, 3, 3, 3), "v": normal(5, 8)},
    )


def quantised() -> onnx.ModelProto:
    return parse(
        """g (float[1,8,16,16] x) => (float[1,16,16,16] y) {
            q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)
            dw = DequantizeLinear <axis=0> (w, ws, wz)
            y = Conv <pads=[1,1,1,1]> (d, dw)
        }""",
        {
            "s": np.float32(0.05),
            "z": np.int8(0),
            "w": np.arange(16 * 8 * 9).reshape(16, 8, 3, 3).astype(np.int8),
            "ws": np.full(16, 0.01, np.float32),
            "wz": np.zeros(16, np.int8),
        },
    )


def test_one_engine_serves_every_rtx_gpu(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path
) -> None:
    built = edgecc.build(save(classifier()), "rtx", out=tmp_path / "out", passes="")
    artifact = built.report["artifact"]
    assert artifact["missing"] is None
    assert artifact["machine"] == "x86_64"
    assert artifact["details"]["precision"] == "fp16"
    assert artifact["details"]["compute_capabilities"] == ALL
    assert artifact["files"] == [ENGINE, RUNNER]
    assert (built.folder / ENGINE).stat().st_size > 10_000
    assert built.report["artifact"]["run"].endswith("-i x=../x.npy -o ..")
    weights = onnx.load(built.folder / "model.onnx").graph.initializer
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}
    assert 1e-6 < built.report["verify"]["max_rel_error"] < 5e-3
    assert built.report["precision"] is None  # verify has what float16 costs


def test_the_same_model_gives_the_same_bytes(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path
) -> None:
    contents = [
        edgecc.build(save(classifier()), "rtx", out=tmp_path / name, passes="").folder / ENGINE
        for name in ("a", "b")
    ]
    assert contents[0].read_bytes() == contents[1].read_bytes()


def test_turing_has_no_matrix_products_in_fp32(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path
) -> None:
    artifact = at("fp32").build(save(classifier()), RTX, tmp_path)
    assert artifact.details["compute_capabilities"] == ALL[1:]
    assert "not for compute capability 7.5" in artifact.details["notes"][0]
    assert "FP32 GEMM is not supported" in artifact.details["notes"][0]
    assert (tmp_path / ENGINE).exists()


def test_a_quantised_graph_is_taken_as_it_comes(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path
) -> None:
    path = save(conv_model(16, 8, (3, 3)))
    with pytest.raises(BuildError, match="this one has no QuantizeLinear"):
        at("int8").build(path, RTX, tmp_path)
    onnx.save(quantised(), path.with_name(INT8_MODEL))
    artifact = at("int8").build(path, RTX, tmp_path)
    assert artifact.details["engine_model"] == INT8_MODEL
    assert artifact.details["compute_capabilities"] == ALL


def test_an_operator_that_it_lacks_is_named(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path
) -> None:
    model = parse("g (float[2,3,3] x) => (float[2] y) { y = Det(x) }")
    model.graph.node[0].name = "odd"
    with pytest.raises(BuildError, match=r"node 'odd' \(Det\): there is no such operator"):
        rtx.build(save(model), RTX, tmp_path)
    assert not (tmp_path / "tensorrt_rtx").exists()


def test_a_board_that_it_does_not_build_for(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path
) -> None:
    assert RTX.engine is not None
    engine = RTX.engine.model_copy(update={"compute_capability": "9.0"})
    board = RTX.model_copy(update={"engine": engine})
    with pytest.raises(BuildError, match=r"builds nothing for compute capability 9\.0") as error:
        rtx.build(save(classifier()), board, tmp_path)
    assert "SM75" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (EngineWish(precision="bf16"), "rtx does not compute in bf16"),
        (EngineWish(dla=0), "a PC's GPU has no DLA"),
        (EngineWish(tensorrt="8.2"), "with the release that is installed"),
    ],
)
def test_wishes_that_it_refuses(wish: EngineWish, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TensorrtRtxBackend().with_engine(RTX, wish)


def test_wishes_that_it_grants() -> None:
    for wanted, given in (("best", "fp16"), ("fp32", "fp32"), ("int8", "int8"), (None, "fp16")):
        assert TensorrtRtxBackend().with_engine(RTX, EngineWish(wanted)) == at(given)  # type: ignore[arg-type]
    assert at("int8").computes_in(RTX) == "int8"
    assert at("fp16").legalisation(RTX) == "float_biases, infer_shapes, to_float16"
    assert at("fp32").legalisation(RTX) == "float_biases"
    quantisation = at("int8").quantisation(RTX)
    assert quantisation is not None
    assert quantisation.form == "qdq"
    assert at("fp16").quantisation(RTX) is None


def test_it_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(BuildError, match="TensorRT for RTX is not installed") as error:
        TensorrtRtxBackend().versions()
    assert error.value.hint == "pip install 'edgecc[rtx]' brings it"


@without_gpu
def test_without_a_gpu_nothing_is_run_and_the_reason_is_told(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path
) -> None:
    built = edgecc.build(save(classifier()), "rtx", out=tmp_path / "out", passes="")
    assert built.report["verify"]["lowered"] is None
    checked = verify_bundle(built.folder)
    assert checked["lowered"] is None
    assert "it needs an NVIDIA GPU" in checked["not_run"]
    with pytest.raises(BuildError, match=r"compute capability 7\.5 or newer") as error:
        edgecc.open(built.folder)
    assert "onnxruntime" in (error.value.hint or "")
    done = subprocess.run(
        [sys.executable, RUNNER, ENGINE, "-i", "x=x.npy"],
        cwd=built.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "driver is not installed" in done.stderr or "CUDA finds no GPU" in done.stderr


@pytest.mark.skipif(gpu() not in ALL, reason="no GPU that an engine of TensorRT for RTX runs on")
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_an_engine_computes_what_onnxruntime_does(
    rtx: TensorrtRtxBackend, save: Save, tmp_path: Path, precision: Precision
) -> None:
    model = classifier()
    built = edgecc.build(save(model), "rtx", out=tmp_path / "o", passes="", precision=precision)
    assert built.report["verify"]["lowered"]["max_rel_error"] < 1e-2
    feed = random_inputs(model)
    with edgecc.open(built.folder) as session:
        assert [spec.name for spec in session.inputs] == ["x"]
        found = session.run(feed)["y"]
    expected = oracle.run(built.folder / "model.onnx", feed)["y"]
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()


MODELS = {
    "cifar10/resnet20": {},
    "cifar10/mlperf_resnet8_wide": {},
    "detect/version-RFB-320_simplified": {},
    "imagenet/squeezenet1.1_fp16": {},
    "misc/mlperf_vww96": {},
    "mnist/mnist_cntk": {},
    "restore/dncnn25": {"noisy": (1, 1, 64, 64)},
    "restore/super-resolution-10": {},
    "style/candy_std_opset13": {"inputImage": (1, 3, 96, 96)},
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("name", MODELS)
def test_real_models_become_engines(
    rtx: TensorrtRtxBackend, assets: Path, tmp_path: Path, name: str, precision: Precision
) -> None:
    path = assets / "models" / f"{name}.onnx"
    built = edgecc.build(
        path, "rtx", out=tmp_path / "out", passes="", precision=precision, shape=MODELS[name]
    )
    assert (built.folder / ENGINE).stat().st_size > 10_000
    details = built.report["artifact"]["details"]
    assert details["precision"] == precision
    assert set(details["compute_capabilities"]) >= set(ALL[1:])
    if precision == "fp16":
        assert details["compute_capabilities"] == ALL
        assert built.report["verify"]["max_rel_error"] < 3e-2
