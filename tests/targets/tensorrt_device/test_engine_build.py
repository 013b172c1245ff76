"""Engines built by the stand-in trtexec, in the words of every release, and what goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorrt_board import RELEASES, Board, Event, network, write_bundle

from targets.tensorrt.device import cache, progress
from targets.tensorrt.device.errors import BoardError


@pytest.mark.parametrize("version", RELEASES)
def test_every_release_builds_an_engine_once(board: Board, bundle: Path, version: str) -> None:
    record, events = board.put(version).build(bundle)
    kinds = [event["event"] for event in events]
    assert kinds.count("build") == 1
    assert kinds[-1] == "engine"
    assert (record["tensorrt"], record["precision"]) == (version, "fp16")
    assert [step["failed"] for step in record["steps"]] == [None]
    assert record["device"].get("compute_capability") == (None if version == "7.1.3" else "7.2")
    named = json.loads((bundle / "engine.json").read_text())
    assert named["key"] == record["key"] == events[-1]["key"]
    assert cache.sha256(named["path"]) == record["plan_sha256"]
    log = next(event["text"] for event in events if event["event"] == "raw")
    assert "Unknown option" not in log
    assert "PASSED" in log
    before = board.files()
    again, events = board.build(bundle)
    assert [event["event"] for event in events] == ["engine"]
    assert again == record
    assert board.files() == before


def test_layers_are_told_of_where_the_release_tells_them(board: Board, bundle: Path) -> None:
    board.put("8.5.2").build(bundle)
    layers = next(data for name, data in board.files().items() if name.endswith("layers.json"))
    names = [layer["Name"] for layer in json.loads(layers)["Layers"]]
    assert names == ["conv1 + act1", "conv2"]


def other_model(board: Board, bundle: Path) -> None:
    write_bundle(bundle, network("Sigmoid"))


def other_precision(board: Board, bundle: Path) -> None:
    write_bundle(bundle, precision="fp32")


def on_dla(board: Board, bundle: Path) -> None:
    write_bundle(bundle, dla=0)


def other_module(board: Board, bundle: Path) -> None:
    board.identity["module"] = "p2888-0001"


def other_release(board: Board, bundle: Path) -> None:
    board.put("8.4.2")


def kept_layer(board: Board, bundle: Path) -> None:
    write_bundle(bundle, layers_fp32=["conv1"])


def calibrated(board: Board, bundle: Path) -> None:
    (bundle / "calibration.cache").write_text("TRT-8502-EntropyCalibration2\nx: 3c010a14\n")
    write_bundle(bundle, calibration="calibration.cache")


@pytest.mark.parametrize(
    "change",
    [other_model, other_precision, on_dla, other_module, other_release, kept_layer, calibrated],
)
def test_an_engine_is_never_another_ones(
    built: Board, bundle: Path, change: Callable[[Board, Path], None]
) -> None:
    first, _ = built.build(bundle)
    kept = built.files()
    change(built, bundle)
    second, events = built.build(bundle)
    assert second["key"] != first["key"]
    assert [event for event in events if event["event"] == "build"]
    assert any("the bundle's engine is " in event.get("text", "") for event in events)
    after = built.files()
    assert {name: after[name] for name in kept if "timing" not in name} == {
        name: data for name, data in kept.items() if "timing" not in name
    }


def test_a_moved_bundle_keeps_its_engine(built: Board, bundle: Path, tmp_path: Path) -> None:
    first, _ = built.build(bundle)
    moved = Path(shutil.copytree(bundle, tmp_path / "elsewhere"))
    (moved / "engine.json").unlink()
    assert built.build(moved)[0] == first
    assert (moved / "engine.json").is_file()


def test_a_damaged_engine_is_built_again(built: Board, bundle: Path) -> None:
    record, _ = built.build(bundle)
    plan = built.place / record["key"] / "model.plan"
    whole = plan.read_bytes()
    plan.write_bytes(whole[:-1] + b"?")
    again, events = built.build(bundle)
    assert [event["event"] for event in events if event["event"] == "build"]
    assert plan.read_bytes() == whole
    assert again["key"] == record["key"]


NODE = {"node": "conv1 + act1"}


@pytest.mark.parametrize("version", ["7.1.3", "8.2.1", "8.4.2", "10.3.0"])
def test_more_workspace_is_tried_first(board: Board, bundle: Path, version: str) -> None:
    board.put(version, implementation={**NODE, "workspace_mb": 4000})
    record, events = board.build(bundle)
    assert [step["failed"] for step in record["steps"]] == ["implementation", None]
    assert (record["precision"], record["workspace_mb"]) == ("fp16", 8192)
    steps = [event for event in events if event["event"] == "build"]
    assert steps[1]["why"] == (
        "no implementation for conv1 + act1 within 1024 MiB of workspace: 8192 MiB"
    )


def test_then_one_layer_is_kept_in_fp32(board: Board, bundle: Path) -> None:
    board.put("8.5.2", implementation={**NODE, "precisions": ["fp16"]})
    record, _ = board.build(bundle)
    assert (record["precision"], record["layers_fp32"]) == ("fp16", ["conv1", "act1"])
    assert len(record["steps"]) == 3


def test_then_the_whole_network_is(board: Board, bundle: Path) -> None:
    board.put("8.2.1", implementation={**NODE, "precisions": ["fp16"]})
    record, _ = board.build(bundle)
    assert (record["asked_precision"], record["precision"]) == ("fp16", "fp32")


@pytest.mark.parametrize(
    ("version", "fail", "code", "message"),
    [
        (
            "8.5.2",
            {"implementation": NODE},
            5,
            "no implementation for conv1 + act1, in fp32 neither",
        ),
        ("7.1.3", {"memory": True}, 5, "ran out of memory with 1024 MiB of workspace"),
        ("8.5.2", {"memory": True}, 5, "ran out of memory with 1024 MiB of workspace"),
        ("8.5.2", {"killed": True}, 5, "the system killed the build"),
        ("8.5.2", {"crash": True}, 5, "crashed (signal 11)"),
        ("8.5.2", {"disk": True}, 5, "no space left for the engine"),
        ("8.2.1", {"unknown_device": True}, 4, "does not know this board"),
        ("7.1.3", {"unsupported": ["Elu"]}, 5, "lacks the operator Elu (node Elu b)"),
        ("8.5.2", {"unsupported": ["Elu"]}, 5, "lacks the operator Elu (node Elu b)"),
        ("10.3.0", {"unsupported": ["Elu"]}, 5, "lacks the operator Elu (node Elu b)"),
    ],
)
def test_failures_are_told_and_leave_the_cache_as_it_was(
    built: Board, bundle: Path, version: str, fail: dict[str, Any], code: int, message: str
) -> None:
    before = built.files()
    write_bundle(bundle, network("Elu"))
    (bundle / "engine.json").unlink()
    built.put(version, **fail)
    events: list[dict[str, Any]] = []
    with pytest.raises(BoardError) as caught:
        built.build(bundle, tell=events.append)
    assert caught.value.code == code
    assert message in caught.value.message
    assert caught.value.hint
    assert built.files() == before
    assert [event for event in events if event["event"] == "raw"]
    assert not (bundle / "engine.json").exists()


def test_a_dynamic_model_is_built_at_its_shape_and_refused_without_one(
    board: Board, bundle: Path
) -> None:
    write_bundle(bundle, network(batch="N"))
    record, _ = board.put("8.5.2").build(bundle)
    assert "--shapes=x:1x3x16x16" in record["steps"][0]["argv"]
    write_bundle(bundle, network(batch="N"), shapes={})
    with pytest.raises(BoardError, match="dynamic inputs without a shape: x"):
        board.build(bundle)


def test_time_is_limited(board: Board, bundle: Path) -> None:
    board.put("8.5.2", hang_s=60)
    with pytest.raises(BoardError, match=r"longer than its 0\.3 s") as caught:
        board.build(bundle, limit_s=0.3)
    assert caught.value.code == 5
    assert board.files() == {}


def test_the_second_build_has_an_estimate(built: Board, bundle: Path) -> None:
    _, events = built.build(bundle, fresh=True)
    told = [event for event in events if event["event"] == "progress" and event["share"]]
    assert told
    assert all(event["share"] <= 0.99 for event in told)


def test_int8_without_calibration_is_told_of(board: Board, bundle: Path) -> None:
    write_bundle(bundle, precision="int8")
    _, events = board.put("8.5.2").build(bundle)
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert notes == [
        "int8 without calibration: the times hold, the outputs do not (made-up ranges)"
    ]


def test_a_full_disk_is_told_before_anything_is_built(
    board: Board, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=5 * 10**6))
    with pytest.raises(BoardError, match=r"needs about 64 MB in .*, 5 MB are free") as caught:
        board.put("8.5.2").build(bundle)
    assert caught.value.code == 5
    assert board.files() == {}


def test_a_cache_that_cannot_be_written_is_told(board: Board, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    board.put("8.5.2").environ["XDG_CACHE_HOME"] = str(tmp_path / "file")
    with pytest.raises(BoardError, match=r"the engine cannot be kept: .*Not a directory") as caught:
        board.build(bundle)
    assert "XDG_CACHE_HOME" in (caught.value.hint or "")


def test_a_trtexec_that_does_not_start_is_told(board: Board, bundle: Path) -> None:
    Path(board.put("8.5.2").trtexec).chmod(0o644)
    with pytest.raises(BoardError, match="cannot be started: Permission denied") as caught:
        board.build(bundle)
    assert caught.value.code == 4


def test_without_packages_trtexec_tells_its_release(board: Board, bundle: Path) -> None:
    board.put("8.6.1").identity["tensorrt"] = None
    assert board.build(bundle)[0]["tensorrt"] == "8.6.1"


def test_a_bundle_that_can_only_be_read_is_built_all_the_same(
    built: Board, bundle: Path, tmp_path: Path
) -> None:
    (bundle / "engine.json").unlink()
    (bundle / "engine.json").mkdir()  # as root nothing else cannot be written
    record, events = built.build(bundle)
    assert events[-1]["event"] == "engine"
    assert record["precision"] == "fp16"


def test_layers_that_dla_leaves_to_the_gpu_are_named(board: Board, bundle: Path) -> None:
    write_bundle(bundle, dla=0)
    record, events = board.put("8.5.2", fallback=["act1", "conv2", "act1"]).build(bundle)
    assert record["gpu_layers"] == ["act1", "conv2"]
    assert "some layers run on the GPU: DLA does not take them" in [
        event.get("text") for event in events
    ]
    assert {"--useDLACore=0", "--allowGPUFallback"} <= set(record["steps"][0]["argv"])


def test_an_estimate_that_has_passed_is_told_no_more() -> None:
    told: list[Event] = []
    line = "[I] Start parsing network model"
    for expected in (60.0, 15.0, 0.1, None):
        building = progress.Progress(told.append, expected)
        building.on_line(line, building.began + 20.0)
    assert [(event["text"], event["eta_s"]) for event in told] == [
        ("reading the model (20 s so far)", 40.0),
        ("reading the model (20 s so far), longer than the 15 s expected", None),
        ("reading the model (20 s so far)", None),
        ("reading the model (20 s so far)", None),
    ]
