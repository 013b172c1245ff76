"""Times of a built engine, as every release exports them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorrt_board import RELEASES, Board, old_python

from targets.tensorrt.device import measure
from targets.tensorrt.device.errors import BoardError

DEVICE = Path(measure.__file__).parent


def plan(board: Board, bundle: Path, version: str) -> str:
    """Return an engine of `version`: the stand-in's are a line of JSON and the model."""
    board.put(version)
    path = bundle / "model.plan"
    argv = [board.trtexec, "--onnx=model.onnx", "--saveEngine=model.plan", "--fp16"]
    release = tuple(map(int, version.split(".")))
    argv.append("--buildOnly" if release < (8, 6) else "--skipInference")
    if release >= (8, 2):
        argv.append("--profilingVerbosity=detailed")
    subprocess.run(argv, cwd=bundle, check=True, stdout=subprocess.DEVNULL)
    return str(path)


@pytest.mark.parametrize("version", RELEASES)
def test_latency(board: Board, bundle: Path, version: str) -> None:
    path = plan(board, bundle, version)
    begin = time.monotonic()
    told = measure.latency(
        str(bundle), path, version, 0, 0.05, trtexec=board.trtexec, iterations=200
    )
    end = time.monotonic()
    assert told["runner"] == f"trtexec {version}"
    assert len(told["times_ms"]) == len(told["compute_ms"]) >= 200
    assert f"Timing trace has {len(told['times_ms'])} queries" in told["raw"]
    assert min(told["compute_ms"]) > 0
    assert all(
        whole >= part - 1e-6
        for whole, part in zip(told["times_ms"], told["compute_ms"], strict=True)
    )
    assert told["shapes"] == ({} if version == "7.1.3" else {"x": [1, 3, 16, 16]})
    assert begin + 0.05 < told["start_s"] < told["end_s"] < end
    ordered = sorted(told["times_ms"])
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    # %g has six digits; in 7.x the sum of three parts is rounded by itself
    assert told["summary"]["latency_ms"]["median"] == pytest.approx(middle, abs=1e-4)


@pytest.mark.parametrize("version", RELEASES)
def test_profile(board: Board, bundle: Path, version: str) -> None:
    path = plan(board, bundle, version)
    told = measure.profile(str(bundle), path, version, 0, 0.01, trtexec=board.trtexec)
    assert [layer["name"] for layer in told["layers"]] == ["conv1 + act1", "conv2"]
    median = [layer["median_ms"] is not None for layer in told["layers"]]
    assert median == [version not in ("7.1.3", "8.0.1", "8.2.1")] * 2
    assert all(layer["average_ms"] > 0 for layer in told["layers"])
    assert sum(layer["share"] for layer in told["layers"]) == pytest.approx(1, abs=1e-4)
    assert told["count"] >= 10
    kinds = [layer["LayerType"] for layer in told["info"]]
    assert kinds == ([] if version in ("7.1.3", "8.0.1") else ["CaskConvolution"] * 2)


@pytest.mark.slow
def test_load_runs_for_as_long_as_it_is_asked(built: Board, bundle: Path) -> None:
    told = measure.load(str(bundle), 1, trtexec=built.trtexec)
    assert 0.9 < told["end_s"] - told["start_s"] < 1.5
    assert sum(told["times_ms"]) < 1500


def test_names_that_break_the_json_are_read(built: Board, bundle: Path) -> None:
    built.put("8.5.2", quotes=True)
    told = measure.profile(str(bundle), None, None, 0, 0, trtexec=built.trtexec)
    assert told["repaired"]
    assert [layer["name"] for layer in told["layers"]] == ['a "quoted" name', "conv2"]


@pytest.mark.parametrize(
    ("made", "here", "board_here", "message"),
    [
        ("8.2.1", "8.5.2", "xavier", "Note: Current Version: 232, Serialized Engine Version: 205"),
        ("8.5.1", "8.5.2", "xavier", "expecting library version 8.5.2 got 8.5.1, please rebuild"),
        ("7.1.3", "7.1.4", "xavier", "expecting library version 7.1.4 got 7.1.3, please rebuild"),
        ("8.6.1", "10.3.0", "orin", "Serialized Engine Version: 236"),
        ("8.2.1", "8.2.1", "nano", "expecting compute 5.3 got compute 7.2, please rebuild"),
    ],
)
def test_an_engine_of_another_release_or_board_is_refused(
    board: Board, bundle: Path, made: str, here: str, board_here: str, message: str
) -> None:
    path = plan(board, bundle, made)
    board.put(here, board_here)
    with pytest.raises(BoardError) as caught:
        measure.latency(str(bundle), path, here, 0, 0, trtexec=board.trtexec)
    assert caught.value.code == 4
    assert message in caught.value.message
    assert caught.value.hint == "build it again on this board: edgecc-device build --fresh"


def test_a_shape_that_is_not_the_bundles_is_refused(built: Board, bundle: Path) -> None:
    data = json.loads((bundle / "device.json").read_text())
    data["inputs"][0]["shape"] = data["engine"]["shapes"]["x"] = [1, 3, 32, 32]
    (bundle / "device.json").write_text(json.dumps(data))
    with pytest.raises(BoardError, match="ran the input x at 1x3x16x16, the bundle's is 1x3x32x32"):
        measure.latency(str(bundle), None, None, 0, 0, trtexec=built.trtexec)


def test_without_an_engine_or_trtexec_the_next_step_is_told(
    built: Board, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    Path(built.trtexec).chmod(0o644)
    with pytest.raises(BoardError, match="this board has no trtexec"):
        measure.latency(str(bundle), None, None, 0, 0)
    (bundle / "engine.json").unlink()
    with pytest.raises(BoardError, match="no engine on this board yet") as caught:
        measure.latency(str(bundle), None, None, 0, 0, trtexec=built.trtexec)
    assert caught.value.hint == "build it: edgecc-device build"


def test_it_runs_on_python_3_6() -> None:
    pytest.importorskip("vermin")
    vermin = Path(sys.executable).with_name("vermin")
    done = subprocess.run(
        [vermin, "-t=3.6-", "--violations", "--no-tips", DEVICE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


ON_BOARD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from argparse import Namespace
from targets.tensorrt.device import measure
from targets.tensorrt.device.command import main_build
asked = Namespace(folder=sys.argv[3], fresh=False, limit=None, list=False, gc=None)
code = main_build(asked, json.loads(sys.argv[2]))
told = measure.latency(sys.argv[3], None, None, 0, 0.01)
layers = measure.profile(sys.argv[3], None, None, 0, 0.01)["layers"]
print(json.dumps([code, told["runner"], len(told["times_ms"]), len(layers)]))
"""


@pytest.mark.slow
def test_it_builds_and_measures_with_the_standard_library_alone(
    board: Board, bundle: Path, tmp_path: Path
) -> None:
    """As packed for the board: with empty packages above it, and nothing else on the path."""
    home = tmp_path / "agent/targets/tensorrt"
    shutil.copytree(DEVICE, home / "device", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (home, home.parent):
        (folder / "__init__.py").write_text("")
    identity = json.dumps(board.put("8.5.2").identity)
    argv = [old_python(), "-I", "-S", "-c", ON_BOARD, tmp_path / "agent", identity, bundle]
    done = subprocess.run(argv, env=board.environ, stdout=subprocess.PIPE, check=True, text=True)
    code, runner, times, layers = json.loads(done.stdout.splitlines()[-1])
    assert (code, runner, layers) == (0, "trtexec 8.5.2", 2)
    assert times >= 10
