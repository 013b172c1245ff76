"""The main job on real networks, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgecc
from edgecc import job, oracle
from edgecc.errors import ModelError

LOWERED = 1e-4
SHAPES = {
    "restore/dncnn25": {"noisy": (1, 1, 48, 48)},
    "restore/srmdnf_x2": {"input": (1, 18, 32, 32)},
    "style/candy_std_opset13": {"inputImage": (1, 3, 224, 224)},
}
MODELS = (
    "cifar10/cmsisnn_m7_5x5",
    "cifar10/mlperf_resnet8_wide",
    "cifar10/resnet20",
    "cifar10/resnet56",
    "detect/version-RFB-320",
    "detect/version-RFB-320_simplified",
    "imagenet/squeezenet1.1_fp16",
    "misc/mlperf_vww96",
    "mnist/mnist_cntk",
    "restore/super-resolution-10",
    *SHAPES,
)
SLOW_IN_TVM = {"cifar10/resnet56", "style/candy_std_opset13", "restore/srmdnf_x2"}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("passes", ["dac(energy=0.9)", "basis(energy=0.9)"])
def test_build_for_onnxruntime(assets: Path, tmp_path: Path, name: str, passes: str) -> None:
    model = assets / "models" / f"{name}.onnx"
    report = job.build(model, passes=passes, shape=SHAPES.get(name), out=tmp_path / "out").report
    assert report["macs"]["after"] <= report["macs"]["before"]
    assert report["uncounted"] == []
    assert report["verify"]["prepared"]["max_rel_error"] < 1e-5
    assert report["verify"]["lowered"]["max_rel_error"] == 0


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("family", ["dac", "basis"])
def test_full_rank_changes_nothing(assets: Path, tmp_path: Path, name: str, family: str) -> None:
    model = assets / "models" / f"{name}.onnx"
    report = job.build(
        model, passes=f"{family}(rank=100000)", shape=SHAPES.get(name), out=tmp_path / "out"
    ).report
    assert any(d["family"] == family for d in report["decisions"])
    # instance normalisation of noise amplifies the rounding of the style network
    assert report["verify"]["max_rel_error"] < (1e-3 if "candy" in name else 1e-5)


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        pytest.param(
            name,
            f"{family}(energy=0.9)",
            marks=[pytest.mark.slow] if name in SLOW_IN_TVM or family == "basis" else [],
        )
        for name in MODELS
        for family in ("dac", "basis")
    ],
)
def test_build_with_tvm(assets: Path, tmp_path: Path, name: str, passes: str) -> None:
    pytest.importorskip("tvm", reason="needs pip install 'edgecc[arm]'", exc_type=ImportError)
    built = job.build(
        assets / "models" / f"{name}.onnx",
        backend="tvm",
        passes=passes,
        shape=SHAPES.get(name),
        out=tmp_path / "out",
    )
    assert built.report["verify"]["lowered"]["max_rel_error"] < LOWERED
    shapes = {n: tuple(s) for n, s in built.report["shapes"]["inputs"].items()}
    with edgecc.open(built.folder) as session:
        assert {spec.name: spec.shape for spec in session.inputs} == shapes


def test_operators_that_no_longer_exist_are_named(assets: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        job.build(assets / "models/style/candy_winml.onnx", out=tmp_path / "out")
    for operator in ("ImageScaler", "Crop", "Affine"):
        assert operator in caught.value.message


def test_float16_stays_at_the_borders(assets: Path, tmp_path: Path) -> None:
    model = assets / "models/imagenet/squeezenet1.1_fp16.onnx"
    built = job.build(model, passes="", out=tmp_path / "out")
    with edgecc.open(built.folder) as session:
        assert [spec.dtype for spec in (*session.inputs, *session.outputs)] == ["float16"] * 2
    assert built.report["verify"]["inputs"]["seed"] == oracle.SEED
