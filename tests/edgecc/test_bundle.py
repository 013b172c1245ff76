from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import conv_model, normal, outputs

import edgecc
from edgecc import bundle, job
from edgecc.errors import ModelError, UsageError
from edgecc.verify import verify_bundle

Save = Callable[..., Path]


@pytest.fixture
def built(save: Save, tmp_path: Path) -> Path:
    model = save(conv_model(16, 8, (3, 3)))
    return job.build(model, passes="basis(rank=4)", out=tmp_path / "out").folder


def test_the_folder_and_its_manifest(built: Path, tmp_path: Path) -> None:
    files = {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file()}
    assert files == {
        "model.onnx",
        "plan.json",
        "report.json",
        "manifest.json",
        "device.json",
        "edgecc-device",
        "onnxruntime/run.py",
    }
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["files"].keys() == files - {"manifest.json"}
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == hashlib.sha256((built / name).read_bytes()).hexdigest()
    original = hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
    report = json.loads((built / "report.json").read_text())
    assert manifest["model_sha256"] == report["model"]["sha256"] == original
    assert {"edgecc", "onnx", "onnxruntime", "onnx-ir", "numpy"} <= manifest["versions"].keys()


def test_two_builds_differ_in_their_timings_only(save: Save, tmp_path: Path) -> None:
    model = save(conv_model(16, 8, (3, 3)))
    folders = [
        job.build(model, passes="dac(rank=3)", out=tmp_path / name).folder for name in ("a", "b")
    ]
    reports = [json.loads((folder / "report.json").read_text()) for folder in folders]
    for report in reports:
        assert report.pop("timings_s").keys() == set(job.STAGES) - {"bundle"}
    assert reports[0] == reports[1]
    for name in ("model.onnx", "plan.json", "onnxruntime/run.py"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    contents = [json.loads((f / "manifest.json").read_text())["content_sha256"] for f in folders]
    assert contents[0] == contents[1]


def test_it_runs_by_its_path_alone(built: Path) -> None:
    x = normal(1, 8, 11, 11)
    with edgecc.open(built) as session:
        assert [spec.name for spec in session.inputs] == ["x"]
        found = session.run({"x": x})
    assert list(found) == ["y"]
    expected = outputs(conv_model(16, 8, (3, 3)), x=x)["y"]
    assert found["y"].shape == expected.shape
    assert np.abs(found["y"] - expected).max() > 1e-3  # rank 4 of 16 is not exact


def test_wrong_inputs_are_told(built: Path) -> None:
    with edgecc.open(built) as session:
        with pytest.raises(UsageError, match="input 'x' is missing"):
            session.run({})
        with pytest.raises(UsageError, match="input 'z' is not one of"):
            session.run({"x": normal(1, 8, 11, 11), "z": normal(1)})
        with pytest.raises(UsageError, match="is given as float32 1x8x11x10"):
            session.run({"x": normal(1, 8, 11, 10)})
        with pytest.raises(UsageError, match="is given as complex"):
            session.run({"x": normal(1, 8, 11, 11).astype(complex)})


def test_an_older_bundle_is_replaced_and_anything_else_is_not(save: Save, tmp_path: Path) -> None:
    model = save(conv_model(16, 8, (3, 3)))
    out = tmp_path / "out"
    job.build(model, passes="basis(rank=2)", out=out)
    report = job.build(model, passes="basis(rank=3)", out=out).report
    assert json.loads((out / "report.json").read_text()) == report
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("precious", "file"):
        with pytest.raises(UsageError, match="is not a bundle of edgecc"):
            job.build(model, out=tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "model.onnx", "out", "precious"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_a_build_that_breaks_leaves_what_was_there(
    built: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    before = {p: p.read_bytes() for p in built.rglob("*") if p.is_file()}

    def breaks(stage: str) -> None:
        if stage == "bundle":
            raise error

    with pytest.raises(error):
        job.build(tmp_path / "model.onnx", out=built, progress=breaks)
    assert {p: p.read_bytes() for p in built.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "out"]


def test_what_came_to_the_place_meanwhile_is_not_lost(save: Save, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def meddle(stage: str) -> None:
        if stage == "bundle":
            out.mkdir()
            (out / "thesis.txt").write_text("x")

    with pytest.raises(UsageError, match="is not a bundle of edgecc"):
        job.build(save(conv_model(16, 8, (3, 3))), out=out, progress=meddle)
    assert (out / "thesis.txt").read_text() == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "out"]


def test_what_somebody_put_into_a_bundle_is_not_lost(built: Path, tmp_path: Path) -> None:
    (built / "model.plan").write_text("an engine")
    with pytest.raises(UsageError, match=r"did not put there: model\.plan"):
        job.build(tmp_path / "model.onnx", out=built)
    assert (built / "model.plan").read_text() == "an engine"


def test_a_link_to_a_bundle_stays_a_link(built: Path, save: Save, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(built)
    job.build(save(conv_model(16, 8, (3, 3))), passes="", out=link)
    assert link.is_symlink()
    assert json.loads((built / "report.json").read_text())["rewrites"] == ""


@pytest.mark.parametrize("damage", ["[]", "{}", '{"files": 3}', '{"files": {"model.onnx": 3}}'])
def test_damaged_manifests_are_told(built: Path, damage: str) -> None:
    (built / "manifest.json").write_text(damage)
    with pytest.raises(ModelError, match="damaged"):
        verify_bundle(built)


def test_verify_finds_what_changed(built: Path, tmp_path: Path) -> None:
    found = verify_bundle(built, against=tmp_path / "model.onnx")
    assert found["lowered"]["max_rel_error"] == 0
    assert found["against"]["max_rel_error"] > 1e-3
    (built / "plan.json").write_text("{}")
    (built / "extra").write_text("x")
    (built / "onnxruntime" / "run.py").unlink()
    with pytest.raises(ModelError) as caught:
        verify_bundle(built)
    for part in ("run.py is missing", "extra is not in the manifest", "plan.json has changed"):
        assert part in caught.value.message


def test_verify_wants_the_model_it_was_built_from(built: Path, save: Save) -> None:
    other = save(conv_model(8, 8, (3, 3)), "other.onnx")
    with pytest.raises(ModelError, match="was not built from"):
        verify_bundle(built, against=other)


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"artifact": 3}', '{"artifact": {}}'])
def test_damaged_bundles_are_told(built: Path, damage: str) -> None:
    (built / "report.json").write_text(damage)
    with pytest.raises(ModelError, match="damaged"):
        edgecc.open(built)


def test_folders_that_are_no_bundles(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a bundle"):
        edgecc.open(tmp_path)
    with pytest.raises(ModelError, match="there is no bundle at"):
        edgecc.open(tmp_path / "absent")


def test_large_weights_lie_in_a_file_of_their_own(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "EXTERNAL_FROM_BYTES", 1000)
    model = save(conv_model(16, 8, (3, 3)))
    built = job.build(model, passes="", out=tmp_path / "out")
    assert (built.folder / "model.onnx.data").stat().st_size > 4000
    assert built.report["verify"]["max_abs_error"] == 0
    again = job.build(built.folder / "model.onnx", passes="", out=tmp_path / "again").report
    assert again["macs"] == built.report["macs"]
    verify_bundle(built.folder)
