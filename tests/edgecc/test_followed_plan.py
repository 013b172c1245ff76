"""A plan that is followed again: the same samples, the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from residual import FAMILIES, X, decided

from edgecc import job, preview
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.errors import UsageError

Save = Callable[..., Path]


def bytes_of(built: job.Build) -> bytes:
    return (built.folder / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    "asked",
    [
        {"macs": 0.5, "families": FAMILIES, "relu_aware": True},
        {"params": 0.5},
        {"passes": "basis(rank=4)"},
        {"passes": "spatial_svd(rank=6), basis(rank=2)", "relu_aware": True},
        {"max_error": 0.3, "families": FAMILIES},
    ],
)
def test_a_plan_followed_again_gives_the_same_bytes(
    model: Path, calib: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    first = job.build(model, calib=calib, out=tmp_path / "first", **asked)
    plan = tmp_path / "first" / "plan.json"
    again = job.build(model, plan=plan, calib=calib, out=tmp_path / "again")
    assert bytes_of(again) == bytes_of(first)
    assert (tmp_path / "again" / "plan.json").read_bytes() == plan.read_bytes()
    assert decided(again.report) == decided(first.report)
    assert any(decided(first.report).values())


@pytest.mark.parametrize("samples", [None, 16])
def test_synthetic_samples_are_made_again(model: Path, tmp_path: Path, samples: int | None) -> None:
    first = job.build(model, macs=0.5, families="basis", samples=samples, out=tmp_path / "first")
    assert first.report["calibration"]["name"] == "synthetic"
    plan = tmp_path / "first" / "plan.json"
    again = job.build(model, plan=plan, samples=samples, out=tmp_path / "again")
    assert again.report["calibration"]["samples"] == (samples or 128)
    assert bytes_of(again) == bytes_of(first)


@pytest.mark.parametrize("other", [{"samples": 8}, {"calib": "synthetic"}, {"calib": "y.npz"}])
def test_other_samples_than_a_plan_was_fitted_on(
    model: Path, calib: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    plan = job.build(model, passes="basis(rank=4)", calib=calib, out=tmp_path / "first").folder
    np.savez(tmp_path / "y.npz", x=X[::-1])
    asked: Any = {"calib": calib, **other}
    if asked["calib"] == "y.npz":
        asked["calib"] = tmp_path / "y.npz"
    with pytest.raises(UsageError, match="the plan is fitted on other samples") as caught:
        job.build(model, plan=plan / "plan.json", out=tmp_path / "again", **asked)
    assert "give the same ones" in str(caught.value.hint)
    assert not (tmp_path / "again").exists()


def test_a_plan_wants_the_samples_that_it_was_fitted_on(
    model: Path, calib: Path, tmp_path: Path
) -> None:
    job.build(model, passes="basis(rank=4)", calib=calib, out=tmp_path / "first")
    with pytest.raises(UsageError, match=r"fitted on calibration samples \(x\.npz\)") as caught:
        job.build(model, plan=tmp_path / "first" / "plan.json", out=tmp_path / "again")
    assert "--calib" in str(caught.value.hint)
    assert not (tmp_path / "again").exists()


def test_a_file_may_be_called_synthetic(model: Path, calib: Path, tmp_path: Path) -> None:
    mine = calib.rename(tmp_path / "synthetic but mine.npz")
    job.build(model, passes="basis(rank=4)", calib=mine, out=tmp_path / "first")
    with pytest.raises(UsageError, match="the plan is fitted on "):
        job.build(model, plan=tmp_path / "first" / "plan.json", out=tmp_path / "again")


def test_a_plan_from_weights_alone_needs_none(model: Path, tmp_path: Path) -> None:
    first = job.build(model, passes="basis(rank=4)", out=tmp_path / "first")
    assert first.report["calibration"] is None
    again = job.build(model, plan=tmp_path / "first" / "plan.json", out=tmp_path / "again")
    assert bytes_of(again) == bytes_of(first)
    assert again.report["calibration"] is None


@pytest.mark.parametrize("asked", [{"samples": 8}, {"preprocessing": Preprocessing(scale=0.5)}])
def test_samples_that_a_plan_does_not_use(
    model: Path, calib: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    job.build(model, passes="basis(rank=4)", out=tmp_path / "first")
    plan = tmp_path / "first" / "plan.json"
    with pytest.raises(UsageError, match="and there are no samples") as caught:
        preview.explain(model, plan=plan, **asked)
    assert "--calib" in str(caught.value.hint)
    assert preview.explain(model, plan=plan, calib=calib, samples=8)["calibration"]["samples"] == 8
