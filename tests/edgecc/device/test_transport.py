"""Sending and fetching, on this machine: over ssh it is the same shell that does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgecc.device import copying
from edgecc.device.local import Local
from edgecc.errors import DeviceError, UsageError

NAMES = ("plain", "sub/two words", "sub/deep/ü'\"$x", "-dash", "run.sh", "sub/line\nend")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "here"
    for number, name in enumerate(NAMES):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(os.urandom(100 * number))
    (made / "run.sh").chmod(0o755)
    return made


def contents(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), os.access(path, os.X_OK))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_arrives_and_comes_back(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    there = tmp_path / "there" / "bundle"
    Local().push(folder, str(there), said.append)
    assert contents(there) == contents(folder)
    assert [path.name for path in there.parent.iterdir()] == ["bundle"]
    assert said == ["sending 6 of 6 files, 0.0 MB"]
    (there / "link").symlink_to("/etc/passwd")
    Local().pull(str(there), tmp_path / "back")
    assert contents(tmp_path / "back") == contents(folder)


def test_only_what_is_missing_or_changed_is_sent(folder: Path, tmp_path: Path) -> None:
    there, said = tmp_path / "there", list[str]()
    Local().push(folder, str(there))
    kept = (there / "plain").stat().st_mtime_ns
    Local().push(folder, str(there), said.append)
    assert said == []
    (there / "-dash").write_text("changed there")
    (there / "sub/two words").unlink()
    (there / "trace").write_text("the device's own")
    Local().push(folder, str(there), said.append)
    assert said == ["sending 2 of 6 files, 0.0 MB"]
    assert contents(there) == {**contents(folder), "trace": (b"the device's own", False)}
    assert (there / "plain").stat().st_mtime_ns == kept


def test_a_file_arrives_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"new" * 1000)
    there = tmp_path / "there"
    there.write_bytes(b"old")
    part = copying._send(Local(), tmp_path / "file", str(there))
    assert there.read_bytes() == b"old"
    Path(part).write_bytes(b"something else that is long enough" * 1000)
    Local().push(tmp_path / "file", str(there))
    assert there.read_bytes() == b"new" * 1000
    assert not Path(part).exists()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a small file system")
    try:
        (tmp_path / "file").write_bytes(b"x" * 500_000)
        with pytest.raises(DeviceError, match="no space is left on its disk") as caught:
            Local().push(tmp_path / "file", str(small / "file"))
        assert caught.value.hint == copying.SPACE
        assert not (small / "file").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        Local().push(tmp_path / "absent", "x")
    with pytest.raises(DeviceError, match=r"this machine has no file .*absent"):
        Local().pull(str(tmp_path / "absent"), tmp_path / "x")
    with pytest.raises(DeviceError, match="`absent-program` failed: it cannot be started"):
        Local().run(["absent-program"], timeout_s=1)
    with (
        pytest.raises(DeviceError, match="`absent-program` failed: it cannot be started"),
        Local().stream(["absent-program"], timeout_s=1, stall_s=1, own_stdin=True),
    ):
        pass


def test_a_stream_ends_with_the_process_that_follows_it(tmp_path: Path) -> None:
    code = f"""
from edgecc.device.local import Local
script = "echo $$ > {tmp_path}/pid; while sleep 0.05; do echo on; done"
with Local().stream(["sh", "-c", script], timeout_s=60, stall_s=60) as stream:
    for line in stream:
        print(line, flush=True)
"""
    follower = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"on\n"
    follower.send_signal(signal.SIGKILL)
    follower.wait()
    follower.stdout.close()
    pid, ends = int((tmp_path / "pid").read_text()), time.monotonic() + 5
    while time.monotonic() < ends and Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_a_stream_that_is_asked_to_end_can_still_speak() -> None:
    script = "trap 'echo restored; exit 0' TERM; echo on; while :; do sleep 0.02; done"
    with Local().stream(["sh", "-c", script], timeout_s=10, stall_s=5) as stream:
        assert next(iter(stream)) == "on"
        assert list(stream.end(5)) == ["restored"]
