"""The cache of engines: whole or not at all, one build at a time, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorrt_board import Board, network, write_bundle

from targets.tensorrt.device import cache

HOME = {"HOME": "/home/nvidia"}


def test_where_it_lies() -> None:
    assert cache.home(HOME) == "/home/nvidia/.cache/edgecc/engines"
    assert cache.home({**HOME, "XDG_CACHE_HOME": "/data"}) == "/data/edgecc/engines"


def test_a_key_is_of_facts_not_of_their_order() -> None:
    assert cache.key({"a": 1, "b": [2]}) == cache.key({"b": [2], "a": 1})
    assert cache.key({"a": 1}) != cache.key({"a": 2})


def entry(place: Path, name: str, plan: bytes) -> str:
    folder = cache.new_folder(str(place))
    Path(folder, cache.PLAN).write_bytes(plan)
    return cache.store(str(place), name, folder, {"tensorrt": "8.5.2"})[0]


def test_what_is_stored_is_found_until_it_is_damaged(tmp_path: Path) -> None:
    name = "a" * 64
    plan = entry(tmp_path, name, b"engine")
    found = cache.find(str(tmp_path), name)
    assert found is not None
    assert (found[0], found[1]["size_bytes"]) == (plan, 6)
    Path(plan).write_bytes(b"engina")
    assert cache.find(str(tmp_path), name) is None
    entry(tmp_path, name, b"engine again")
    assert cache.find(str(tmp_path), name)
    (tmp_path / name / cache.RECORD).write_text("{")
    assert cache.find(str(tmp_path), name) is None
    assert cache.find(str(tmp_path), "b" * 64) is None


def test_gc_keeps_what_was_used_last_and_no_damaged_entry(tmp_path: Path) -> None:
    for letter, age in (("a", 300), ("b", 200), ("c", 100)):
        entry(tmp_path, letter * 64, bytes(1000))
        os.utime(tmp_path / (letter * 64), (time.time() - age,) * 2)
    (tmp_path / ("d" * 64)).mkdir()
    (tmp_path / "timing").mkdir()
    assert [record["key"][0] for record in cache.listing(str(tmp_path))] == ["c", "b", "a", "d"]
    removed = cache.gc(str(tmp_path), 0.002)
    assert [record["key"][0] for record in removed] == ["a", "d"]
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["b", "c", "t"]


def test_two_builds_do_not_run_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        cache.locked(str(tmp_path), told.append, 1),
        pytest.raises(TimeoutError),
        cache.locked(str(tmp_path), told.append, 0.1),
    ):
        pass
    assert told == [f"waiting for the build of process {os.getpid()}"]
    with cache.locked(str(tmp_path), told.append, 0):
        pass


def test_a_dead_builds_leavings_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".new-1").mkdir()
    with cache.locked(str(tmp_path), lambda text: None, 1):
        assert not (tmp_path / ".new-1").exists()


BUILD = """
import json, sys
from argparse import Namespace
from targets.tensorrt.device.command import main_build
asked = Namespace(folder=sys.argv[2], fresh=False, limit=None, list=False, gc=None)
sys.exit(main_build(asked, json.loads(sys.argv[1])))
"""


def start(board: Board, bundle: Path) -> subprocess.Popen[bytes]:
    """A build that hangs with half an engine written; return once it does."""
    board.put("8.5.2", hang_s=60)
    identity = json.dumps(board.identity)
    child = subprocess.Popen(
        [sys.executable, "-c", BUILD, identity, str(bundle)],
        env={**board.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while not list(board.place.glob(".new-*/model.plan")):
        assert time.monotonic() < until, child.poll()
        time.sleep(0.02)
    return child


def running(program: str) -> list[str]:
    """The processes whose command line has `program`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if program.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_an_ended_build_leaves_the_cache_as_it_was_and_no_trtexec(
    built: Board, bundle: Path, number: int, code: int
) -> None:
    before = built.files()
    write_bundle(bundle, network("Sigmoid"))
    child = start(built, bundle)
    assert running(f"--saveEngine={built.place}")
    child.send_signal(number)
    out, _ = child.communicate(timeout=30)
    assert child.returncode == code
    if number == signal.SIGINT:
        last = json.loads(out.decode().splitlines()[-1])
        assert (last["event"], last["code"]) == ("error", 130)
    until = time.monotonic() + 10
    while running(f"--saveEngine={built.place}"):
        assert time.monotonic() < until
        time.sleep(0.02)
    with cache.locked(str(built.place), None, 5):  # as the next build does first
        pass
    assert built.files() == before
