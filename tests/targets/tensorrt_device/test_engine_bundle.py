"""Whether a board is what a bundle is for, and the command that builds on it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorrt_board import Board, network, write_bundle

from targets.tensorrt.device import bundle as bundles
from targets.tensorrt.device import engine
from targets.tensorrt.device.command import main_build
from targets.tensorrt.device.errors import BoardError


def refused(board: Board, folder: Path) -> BoardError:
    with pytest.raises(BoardError) as caught:
        board.build(folder)
    assert not board.place.exists()
    return caught.value


def test_another_chip_is_refused(board: Board, bundle: Path) -> None:
    board.put("8.2.1", "nano").identity.update(
        soc="tegra210", model="NVIDIA Jetson Nano Developer Kit", module="p3448-0000"
    )
    error = refused(board, bundle)
    assert error.code == 4
    assert error.message == (
        "this bundle is for xavier (tegra194), this board is NVIDIA Jetson Nano Developer Kit "
        "(tegra210), module p3448-0000"
    )
    assert error.hint is not None
    assert "edgecc build --target" in error.hint


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({}, True),
        ({"module": None}, True),
        ({"model": None, "module": None}, True),
        ({"module": "p2888-0099"}, True),  # a module not known yet, of a model that is
        ({"model": "NVIDIA Jetson Xavier NX Developer Kit", "module": "p3668-0001"}, False),
        ({"model": "NVIDIA Jetson Xavier NX Developer Kit", "module": None}, False),
        ({"soc": None, "model": None, "module": None, "machine": "x86_64"}, False),
    ],
)
def test_the_board_is_told_by_chip_module_and_model(
    board: Board, bundle: Path, change: dict[str, Any], ok: bool
) -> None:
    data, identity = bundles.read(str(bundle)), {**board.identity, **change}
    if ok:
        notes = bundles.check_board(data, identity)
        assert len(notes) == (change.get("module") == "p2888-0099")
    else:
        with pytest.raises(BoardError, match="this bundle is for xavier"):
            bundles.check_board(data, identity)


def test_a_bundle_for_any_board_is_built_on_any(board: Board, bundle: Path) -> None:
    data = {**bundles.read(str(bundle)), "board": None}
    assert bundles.check_board(data, {"soc": None}) == []


@pytest.mark.parametrize(
    ("version", "outcome"),
    [
        ("8.5.2", []),
        (
            "8.5.3",
            ["the bundle was made for TensorRT 8.5.2; this board's 8.5.3 reads its opset 17"],
        ),
        ("11.0.0", ["TensorRT 11.0.0 is newer than this agent knows"]),
        ("8.2.1", "TensorRT 8.2.1 reads opset 13 at most, the bundle's model is at 17"),
        ("6.0.1", "reads opset 10 at most"),
        (None, "there is no TensorRT on this board"),
    ],
)
def test_tensorrt_must_read_the_model(
    bundle: Path, version: str | None, outcome: str | list[str]
) -> None:
    write_bundle(bundle, tensorrt=["8.5.2"], opset=17)
    data, identity = bundles.read(str(bundle)), {"tensorrt": version, "trtexec": "/t"}
    if isinstance(outcome, list):
        told, notes = bundles.check_tensorrt(data, identity)
        assert told == version
        assert [note[: len(text)] for note, text in zip(notes, outcome, strict=True)] == outcome
        return
    with pytest.raises(BoardError, match=outcome) as caught:
        bundles.check_tensorrt(data, identity)
    assert caught.value.code == 4
    if version == "8.2.1":
        assert caught.value.hint == (
            "build the bundle for it on the host: edgecc build --tensorrt 8.2.1"
        )


def test_trtexec_may_be_missing(bundle: Path) -> None:
    with pytest.raises(BoardError, match=r"8.5.2 is there, its trtexec is not") as caught:
        bundles.check_tensorrt(bundles.read(str(bundle)), {"tensorrt": "8.5.2", "trtexec": None})
    assert caught.value.hint == "sudo apt-get install libnvinfer-bin"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"backend": "tvm", "engine": 0, "model": ""}'])
def test_what_is_no_bundle_is_refused(board: Board, bundle: Path, text: str) -> None:
    (bundle / "device.json").write_text(text)
    assert refused(board, bundle).code == 5


def test_a_model_outside_the_bundle_is_refused(board: Board, bundle: Path) -> None:
    data = json.loads((bundle / "device.json").read_text())
    (bundle / "device.json").write_text(json.dumps({**data, "model": "../model.onnx"}))
    assert "does not describe an engine" in refused(board, bundle).message


def test_another_model_than_the_bundles_is_refused(board: Board, bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"another")
    assert (
        "not the file that the bundle was made with" in refused(board.put("8.5.2"), bundle).message
    )


def test_the_engine_is_found_without_building(built: Board, bundle: Path) -> None:
    found = engine.find(str(bundle), built.identity, built.environ)
    assert found is not None
    assert Path(found[0]).is_file()
    write_bundle(bundle, network("Sigmoid"))
    assert engine.find(str(bundle), built.identity, built.environ) is None


def command(
    board: Board, monkeypatch: pytest.MonkeyPatch, **given: Any
) -> tuple[int, list[dict[str, Any]], str]:
    """Return the exit code, the events, and the words on stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", board.environ["XDG_CACHE_HOME"])
    out, err = io.StringIO(), io.StringIO()
    options = {"folder": None, "fresh": False, "limit": None, "list": False, "gc": None}
    arguments = SimpleNamespace(**{**options, **given})
    code = main_build(arguments, lambda: board.identity, out=out, err=err)
    return code, [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


def test_the_command_tells_events_and_words(
    built: Board, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, events, words = command(built, monkeypatch, folder=str(bundle), fresh=True)
    assert code == 0
    kinds = {event["event"] for event in events}
    assert kinds == {"build", "progress", "raw", "engine"}
    assert "build 1: as asked\n" in words
    assert "fp16, TensorRT 8.5.2" in words
    code, [listing], words = command(built, monkeypatch, list=True)
    assert (code, len(listing["engines"])) == (0, 1)
    assert "TensorRT 8.5.2  fp16" in words
    code, [listing], words = command(built, monkeypatch, gc=0)
    assert (code, listing["engines"], words) == (0, [], "removed 1 of the engines\n")


def test_a_failure_is_an_event_and_an_exit_code(
    board: Board, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.put("8.5.2", unknown_device=True)
    code, events, words = command(board, monkeypatch, folder=str(bundle))
    assert (code, events[-1]["event"], events[-1]["code"]) == (4, "error", 4)
    assert "\n  hint: only another JetPack helps" in words
