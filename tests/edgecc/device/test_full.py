"""Disks without room: what still goes on, and what is left on them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from jetson.board import Board, bundle, job

from edgecc.device.local import Local
from edgecc.device.remote import Remote
from edgecc.errors import DeviceError


@pytest.fixture
def a(board: Board, tmp_path: Path) -> Path:
    return bundle(tmp_path / "A")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system on which nothing has room."""
    folder = tmp_path / "full"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small file system")
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_record_and_not_the_session(
    remote: Remote, full: Path, a: Path
) -> None:
    events = list(remote.measure(job(bundles={"A": str(a)}, record=str(full / "record.jsonl"))))
    (note,) = [event["text"] for event in events if event["event"] == "note"]
    assert note == "the record on the device ends here: No space left on device"
    assert events[-1]["ok"] is True


def test_without_a_journal_nothing_is_changed(
    remote: Remote, board: Board, full: Path, a: Path
) -> None:
    (board.root / "var/tmp").rmdir()
    (board.root / "var/tmp").symlink_to(full)
    with pytest.raises(DeviceError, match="cannot be written, so nothing is changed: No space"):
        list(remote.measure(job(bundles={"A": str(a)})))
    assert board.log() == []


def test_what_a_full_disk_did_not_take_is_not_left_there(full: Path, tmp_path: Path) -> None:
    (full / "filler").write_bytes(b"x" * 4096)  # some room, and not enough
    (tmp_path / "model.onnx").write_bytes(b"y" * 40_000)
    with pytest.raises(DeviceError, match="no space is left on its disk"):
        Local().push(tmp_path / "model.onnx", str(full / "model.onnx"))
    assert [path.name for path in full.iterdir()] == ["filler"]
