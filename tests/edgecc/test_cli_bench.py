"""Measuring at the command line: what a user types, sees and is left with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from command_line import edgecc, words
from measured import built, described_for, record_of
from residual import NETWORK

from edgecc import bundle, job
from edgecc.measure import prices
from edgecc.measure.bench import Wish
from edgecc.measure.loop import until_met
from edgecc.measure.trust import Limits
from edgecc.request import Request

LOUD = ("--spread", "1000")
"""The machine that tests run on does other things besides."""
NETWORK_OF_IMAGES = Path(__file__).parents[2] / "examples/fashion_mnist/fashion_mnist.onnx"
SHORT = ("--rounds", "3", "--seconds", "0.2", "--no-pin", *LOUD)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("measured"))


@pytest.fixture
def folder(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of its own, and a home where a device would put things."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(original, tmp_path / original.name))


def measurement(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "trace").glob("*/measurement.json")
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_a_record_is_imported_analysed_and_priced(folder: Path, tmp_path: Path) -> None:
    record = record_of(tmp_path / "record-1.jsonl", folder.name)
    result = edgecc("import", folder, record)
    assert result.exit_code == 0, result.stderr
    (kept,) = (folder / "trace").glob("*/record.jsonl")
    assert kept.read_bytes() == record.read_bytes()
    assert (kept.parent / "raw/trtexec-A-0.log").read_text() == "&&&& PASSED\n"
    found = measurement(folder)
    assert found["trusted"] is True
    assert found["bundles"]["A"]["name"] == folder.name
    assert found["bundles"]["A"]["latency"]["samples"] == 200
    layers = [(row["nodes"], row["kind"], row["measured_ms"]) for row in found["layers"]["A"]]
    assert layers == [(["Conv_c"], "operators", 0.2), ([], "copy", 0.1)]
    assert found["prices"] == str(prices.found("host", "onnxruntime"))
    assert folder.name in result.stdout
    bundle.check(folder)


def test_a_torn_record_is_kept_and_not_trusted(folder: Path, tmp_path: Path) -> None:
    result = edgecc("import", folder, record_of(tmp_path / "r.jsonl", folder.name, torn=True))
    assert result.exit_code == 7
    assert "the record ends in the middle" in words(result.stderr)
    assert measurement(folder)["trusted"] is False
    assert measurement(folder)["malformed_lines"] == 1
    assert prices.found("host", "onnxruntime") is None


def test_a_record_of_another_kind_of_machine_is_refused(folder: Path, tmp_path: Path) -> None:
    described_for(folder, machine="riscv64")
    result = edgecc("import", folder, record_of(tmp_path / "r.jsonl", folder.name))
    assert result.exit_code == 4
    assert "is for host (riscv64)" in words(result.stderr)
    assert not (folder / "trace").exists()


def test_what_is_no_record_is_refused(folder: Path) -> None:
    result = edgecc("import", folder, folder / "report.json", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["kind"] == "UsageError"


def test_the_record_of_an_engine_is_kept_beside_the_measurements(
    folder: Path, tmp_path: Path
) -> None:
    told = {"key": "ab" * 32, "tensorrt": "8.5.2", "build_s": 71.0}
    (tmp_path / "engine.json").write_text(json.dumps(told))
    result = edgecc("import", folder, tmp_path / "engine.json")
    assert result.exit_code == 0, result.stderr
    kept = folder / "trace/engines" / f"{'ab' * 12}.json"
    assert json.loads(kept.read_text()) == told


def test_what_was_measured_outlives_a_new_build(folder: Path, tmp_path: Path) -> None:
    assert edgecc("import", folder, record_of(tmp_path / "r.jsonl", folder.name)).exit_code == 0
    onnx.save(NETWORK, tmp_path / "net.onnx")
    job.build(
        tmp_path / "net.onnx", shape={"x": (1, 4, 10, 10)}, passes="basis(rank=6)", out=folder
    )
    assert measurement(folder)["trusted"] is True
    bundle.check(folder)


def test_runs_are_compared_and_what_differs_is_told(folder: Path, tmp_path: Path) -> None:
    for number, mode in enumerate(("MAXN", "MODE_15W")):
        path = record_of(
            tmp_path / f"r{number}.jsonl", folder.name, mode={"id": number, "name": mode}
        )
        assert edgecc("import", folder, path).exit_code == 0
    runs = sorted((folder / "trace").iterdir())
    result = edgecc("compare", *runs)
    assert result.exit_code == 0, result.stderr
    assert all(run.name in result.stdout for run in runs)
    told = f"mode differs: MAXN in {runs[0].name}, MODE_15W in {runs[1].name}"
    assert f"warning: {told}" in words(result.stderr)
    found = json.loads(edgecc("compare", *runs, "--json").stdout)
    assert found["differences"] == [told]
    assert list(found["runs"]) == [run.name for run in runs]


def test_a_record_is_compared_by_itself(folder: Path, tmp_path: Path) -> None:
    record = record_of(tmp_path / "r.jsonl", folder.name)
    assert edgecc("compare", record, record).exit_code == 0
    nothing = edgecc("compare", folder)
    assert nothing.exit_code == 2
    assert "there is no measurement" in nothing.stderr


def test_a_record_without_times_is_told_beside_the_others(folder: Path, tmp_path: Path) -> None:
    record = record_of(tmp_path / "r.jsonl", folder.name)
    empty = tmp_path / "empty.jsonl"
    empty.write_text(record.read_text().splitlines()[0] + "\n")
    result = edgecc("compare", record, empty, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert list(found["runs"]) == ["r.jsonl"]
    assert "holds no times" in found["without_times"]["empty.jsonl"]
    assert edgecc("compare", empty).exit_code == 7


def test_a_plan_takes_measured_prices_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    assert edgecc("import", folder, record_of(tmp_path / "r.jsonl", folder.name)).exit_code == 0
    onnx.save(NETWORK, tmp_path / "net.onnx")
    words_ = ("build", tmp_path / "net.onnx", "--macs", "0.6", "--families", "basis")
    for more, says in (((), "measured on host"), (("--prices", "model"), "roofline of host")):
        result = edgecc(*words_, *more, "--out", tmp_path / "b", "--json", "--shape", "x:1,4,10,10")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["planning"]["prices"].startswith(says)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--device", "toaster"), 2, "there is no device named 'toaster'"),
        (("--rounds", "0"), 2, "measure nothing"),
        (("--seconds", "nan"), 2, "measure nothing"),
        (("--energy-seconds", "-3"), 2, "and -3 s under the sensors, measure nothing"),
        (("--spread", "-1"), 2, "runs cannot vary by -1 at most"),
        (("--threads", "0"), 2, "0 threads run nothing"),
        (("--mode", "MAXN"), 2, "host has no power mode 'MAXN'"),
        (("--against", "nowhere.onnx"), 2, "no model or bundle nowhere.onnx"),
        (("--devices", "all"), 2, 'no device with target = "host"'),
    ],
)
def test_what_cannot_be_measured(
    folder: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    result = edgecc("bench", folder, *arguments)
    assert result.exit_code == code
    assert says in words(result.stderr)
    assert not (folder / "trace").exists()


def test_a_bundle_for_another_architecture(folder: Path) -> None:
    described_for(folder, machine="riscv64")
    result = edgecc("bench", folder)
    assert result.exit_code == 4
    assert "and this machine is" in words(result.stderr)


@pytest.mark.slow
def test_a_bundle_and_its_original_are_measured_here(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    onnx.save(NETWORK, model)
    result = edgecc("bench", folder, "--against", model, *SHORT, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["ratio"]["rounds"] == 3
    assert found["bundles"]["A"]["name"] == "net.onnx"
    assert found["bundles"]["B"]["latency"]["samples"] >= 50
    assert found["bundles"]["B"]["memory_peak_mb"] > 5
    assert {row["kind"] for row in found["layers"]["B"]} >= {"operators"}
    assert Path(found["folder"], "record.jsonl").is_file()
    bundle.check(folder)


@pytest.mark.slow
def test_an_interrupted_measurement_leaves_its_record(folder: Path) -> None:
    line = [sys.executable, "-m", "edgecc", "bench", str(folder), "--seconds", "5", "--no-pin"]
    with subprocess.Popen(
        [*line, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as running:
        for _ in range(600):
            if any("times" in p.read_text() for p in (folder / "trace").glob("*/record.jsonl")):
                break
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        told, said = running.communicate(timeout=120)
    assert running.returncode == 130
    (record,) = (folder / "trace").glob("*/record.jsonl")
    assert f"what was recorded so far: {record}" in said
    error = json.loads(told)["error"]
    assert (error["kind"], error["exit_code"]) == ("Interrupted", 130)
    assert str(record) in error["message"]
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_board_that_drops_out_leaves_its_turn_to_another(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh here")
    told = '[here]\nurl = "local"\ntarget = "host"\n[gone]\nurl = "ssh://nobody@127.0.0.1:1"\n'
    (tmp_path / "devices.toml").write_text(f'{told}target = "host"\n')
    monkeypatch.chdir(tmp_path)
    result = edgecc("bench", folder, "--against", folder, "--devices", "all", *SHORT, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["ratio"]["rounds"] == 6
    assert found["ratio"]["verdict"] == "same"
    (loss,) = [note for note in found["notes"] if "dropped out" in note]
    assert loss.startswith("gone dropped out")
    assert "\n" not in loss
    environment = json.loads(Path(found["folder"], "environment.json").read_text())
    assert [each["board"] for each in environment["boards"]] == ["here", "here"]


@pytest.mark.slow
def test_a_network_is_planned_and_measured_until_it_is_fast_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    request = Request.of(latency=0.8, families="spatial_svd", samples=4)
    wish = Wish(rounds=3, seconds=0.3, energy_s=None, pin=False, limits=Limits(spread=1000))
    out = tmp_path / "small"
    closed = until_met(NETWORK_OF_IMAGES, "host", "local", request, wish, out=out)
    assert closed.conclusion.measurement.ratio is not None
    assert closed.conclusion.measurement.ratio.value <= 0.8
    assert json.loads((out / "trace/loop.json").read_text())["tries"]
    assert closed.conclusion.trace.record.is_file()
    bundle.check(out)


def test_a_device_takes_a_budget_that_it_can_measure(tmp_path: Path) -> None:
    onnx.save(NETWORK, tmp_path / "net.onnx")
    result = edgecc("build", tmp_path / "net.onnx", "--macs", "0.5", "--device", "local")
    assert result.exit_code == 2
    assert "no budget to meet on the device" in words(result.stderr)


@pytest.mark.slow
def test_a_full_disk_is_told_with_what_was_recorded_so_far(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words_ = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(words_, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small file system")
    try:
        shutil.copytree(folder, disk / "net")
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(b"x" * (free - 20_000))
        result = edgecc("bench", disk / "net", "--rounds", "1", "--no-pin", "--no-profile", *LOUD)
        assert result.exit_code == 1
        assert "cannot write" in words(result.stderr)
        assert "what was recorded so far" in words(result.stderr)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
