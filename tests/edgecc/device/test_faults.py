"""Sessions that end in the middle, one way after the other: the device is as it was found."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jetson.board import GPU, Board, bundle, job
from jetson.following import Event, follow
from jetson.sshd import Sshd

from edgecc.device import pack
from edgecc.device.remote import Remote
from edgecc.device.ssh import Ssh
from edgecc.errors import DeviceError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as setting clocks does")
LONG = {"latency": {"seconds": 60, "min_samples": 3, "max_samples": 100000}}


@pytest.fixture
def a(board: Board, tmp_path: Path) -> Path:
    return bundle(tmp_path / "A")


def wait(what: Callable[[], object], seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, what
        time.sleep(0.02)


class Agent:
    """The agent as a process of its own, until it has pinned the clocks and a runner runs."""

    def __init__(self, tmp_path: Path, given: dict[str, Any], *words: str) -> None:
        pack.write(tmp_path / pack.NAME)
        (tmp_path / "job.json").write_text(json.dumps(given))
        file = str(tmp_path / "job.json")
        self.process = subprocess.Popen(
            [sys.executable, str(tmp_path / pack.NAME), "measure", file, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.events: list[Event] = []

    def until(self, name: str) -> None:
        """Read events until a phase of that name was done."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1].get("name") == name:
                return
        raise AssertionError(self.events)

    def rest(self) -> list[Event]:
        assert self.process.stdout is not None
        found = [json.loads(line) for line in self.process.stdout]
        self.process.wait(10)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


@pytest.fixture
def agent(board: Board, a: Path, tmp_path: Path) -> Iterator[Agent]:
    """One whose latency pass takes a minute."""
    started = Agent(tmp_path, job(bundles={"A": str(a)}, mode=0, **LONG), "--tied")
    yield started
    started.close()


def runners() -> list[int]:
    """The runners of any session of this machine, by their ids."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"tvm/edgecc-run" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_killed_the_guard_puts_everything_back(board: Board, agent: Agent, a: Path) -> None:
    before = board.settings()
    agent.until("warm")
    assert board.is_pinned
    mine = [pid for pid in runners() if str(a) in Path(f"/proc/{pid}/cmdline").read_text()]
    agent.process.kill()
    wait(lambda: board.settings() == before and board.leftovers() == [])
    assert board.log() == ["nvpmodel 0", "pin", "nvpmodel 2", "restore"]
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in mine))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_in_order(board: Board, agent: Agent, number: int) -> None:
    before = board.settings()
    agent.until("warm")
    agent.process.send_signal(number)
    events = agent.rest()
    assert agent.process.returncode == 130
    assert [event["event"] for event in events] == ["error", "state", "end"]
    assert (events[0]["code"], events[-1]["restored"]) == (130, True)
    assert board.settings() == before


def test_tied_it_ends_with_its_input(board: Board, agent: Agent) -> None:
    before = board.settings()
    agent.until("warm")
    assert agent.process.stdin is not None
    agent.process.stdin.close()
    events = agent.rest()
    assert events[0]["message"] == "the link to the host was lost"
    assert board.settings() == before


def test_a_host_that_takes_no_more_lines_ends_it(board: Board, a: Path, tmp_path: Path) -> None:
    before = board.settings()
    agent = Agent(tmp_path, job(bundles={"A": str(a)}, rounds=50))
    agent.until("warm")
    assert agent.process.stdout is not None
    agent.process.stdout.close()
    assert agent.process.wait(10) == 130
    assert board.settings() == before
    (record,) = (a / "trace").iterdir()
    assert json.loads(record.read_text().splitlines()[-1])["restored"] is True
    agent.close()


def test_a_second_session_is_refused(remote: Remote, board: Board, agent: Agent, a: Path) -> None:
    agent.until("warm")
    assert remote.state()["mode"]["id"] == 0  # looking is allowed, and changes nothing
    with pytest.raises(DeviceError, match="another session measures") as caught:
        list(remote.measure(job(bundles={"A": str(a)})))
    assert f"process {agent.process.pid}" in caught.value.message
    assert board.is_pinned


def test_ctrl_c_on_the_host_ends_it_in_order(remote: Remote, board: Board, a: Path) -> None:
    before, events = board.settings(), list[Event]()

    def interrupt(event: Event) -> None:
        if event.get("name") == "warm":
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        follow(remote.measure(job(bundles={"A": str(a)}, **LONG)), events, interrupt)
    assert [event["event"] for event in events[-3:]] == ["error", "state", "end"]
    assert events[-1]["restored"] is True
    assert board.settings() == before


@pytest.mark.parametrize("boot", ["same", "other"])
def test_a_journal_of_a_dead_session_is_followed_first(
    remote: Remote, board: Board, boot: str
) -> None:
    clock = board.root / f"{GPU}/min_freq"
    boot_id = board.read("proc/sys/kernel/random/boot_id") if boot == "same" else "another"
    left = {"pid": 1, "boot_id": boot_id, "mode": 3, "files": [[str(clock), "318750000"]]}
    board.write(f"var/tmp/edgecc-device-{os.getuid()}.journal.json", json.dumps(left))
    found = remote.state()
    assert found["mode"]["id"] == 3
    assert found["gpu"]["min_hz"] == (318750000 if boot == "same" else 114750000)
    assert board.leftovers() == []


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"pid": "x"}'])
def test_a_journal_that_is_damaged_stops_nothing(
    remote: Remote, board: Board, a: Path, text: str
) -> None:
    board.write(f"var/tmp/edgecc-device-{os.getuid()}.journal.json", text)
    assert list(remote.measure(job(bundles={"A": str(a)}, energy=None)))[-1]["ok"] is True
    assert board.leftovers() == []


def test_a_link_that_is_cut_in_the_middle(sshd: Sshd, ssh: Ssh, board: Board, a: Path) -> None:
    before, events = board.settings(), list[Event]()
    begin, pinned = time.monotonic(), list[bool]()

    def cut(event: Event) -> None:
        if event.get("name") == "warm":
            pinned.append(board.is_pinned)
            sshd.cut()

    with pytest.raises(DeviceError, match="the link was lost"):
        follow(Remote(ssh).measure(job(bundles={"A": str(a)}, mode=0, **LONG)), events, cut)
    assert pinned == [True]
    assert time.monotonic() - begin < 10
    assert events[-1]["name"] == "warm"
    wait(lambda: board.settings() == before and board.leftovers() == [])
    (record,) = (a / "trace").iterdir()
    wait(lambda: '"restored": true' in record.read_text())
    assert list(Remote(ssh).measure(job(bundles={"A": str(a)}, energy=None)))[-1]["ok"] is True


def test_an_agent_that_is_killed_is_told(sshd: Sshd, ssh: Ssh, board: Board, a: Path) -> None:
    before = board.settings()

    def kill(event: Event) -> None:
        if event.get("name") == "warm":
            text = next((board.root / "var/tmp").glob("*.journal.json")).read_text()
            os.kill(json.loads(text)["pid"], signal.SIGKILL)

    with pytest.raises(DeviceError, match="the agent ended before it was done"):
        follow(Remote(ssh).measure(job(bundles={"A": str(a)}, **LONG)), [], kill)
    wait(lambda: board.settings() == before)


def test_a_bundle_goes_there_once(sshd: Sshd, ssh: Ssh, board: Board, a: Path) -> None:
    (a / "manifest.json").write_text("{}")
    (a / "trace").mkdir()
    (a / "trace" / "record").write_text("of another time")
    said: list[str] = []
    remote = Remote(ssh, said.append)
    place = remote.put(a)
    assert place.startswith(str(sshd.home))
    assert remote.put(a) == place
    assert not (Path(place) / "trace").exists()
    assert len([text for text in said if text.startswith("sending 3 of 3 files")]) == 1
    events = list(remote.measure(job(bundles={"A": place}, energy=None)))
    assert events[-1]["ok"] is True


def test_an_ordinary_user_measures_what_they_may(board: Board, a: Path, tmp_path: Path) -> None:
    place = tmp_path
    while place != Path("/tmp"):  # pytest's folders are their owner's alone
        place.chmod(0o755)
        place = place.parent
    (a / "trace").mkdir()
    (a / "trace").chmod(0o777)
    board.fail("hidden")
    for file in board.root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/*/curr*_input"):
        file.chmod(0o600)
    pack.write(tmp_path / pack.NAME)
    (tmp_path / "job.json").write_text(json.dumps(job(bundles={"A": str(a)})))
    done = subprocess.run(
        ["/usr/bin/python3", str(tmp_path / pack.NAME), "measure", str(tmp_path / "job.json")],
        user="nobody",
        group="nogroup",
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert any("pinning clocks takes root" in note for note in notes)
    assert any("sudo chmod a+r /sys/bus/i2c/drivers/ina3221*/*/hwmon" in note for note in notes)
    assert any(event["event"] == "times" for event in events)
    assert board.log() == []
