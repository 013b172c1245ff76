"""The agent on an emulated arm64 machine, over real ssh: another processor, another Python."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jetson.arm64 import Arm64, arm64
from jetson.board import bundle, job
from jetson.following import Event, follow

from edgecc.device import shell
from edgecc.device.remote import Remote
from edgecc.device.ssh import Ssh
from edgecc.errors import DeviceError

__all__ = ["arm64"]
pytestmark = pytest.mark.slow
SLOW = {"latency": {"seconds": 60, "min_samples": 3, "max_samples": 100000}}


@pytest.fixture
def remote(arm64: Arm64) -> Iterator[Remote]:
    with Ssh(arm64.url, config=arm64.config) as transport:
        yield Remote(transport)


@pytest.fixture
def a(arm64: Arm64, remote: Remote, tmp_path: Path) -> str:
    (bundle(tmp_path / "A") / "manifest.json").write_text("{}")
    return remote.put(tmp_path / "A")


def test_it_is_a_jetson_on_arm(remote: Remote) -> None:
    found = remote.identify()
    assert (found["machine"], found["soc"], found["l4t"]) == ("aarch64", "tegra194", "35.4.1")
    assert found["sensors"]["rails"] == ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"]
    assert found["python"].startswith("3.11")
    assert shell.identify(remote.transport)["machine"] == "aarch64"


def test_a_session_there(remote: Remote, arm64: Arm64, a: str) -> None:
    before = arm64.board.settings()
    given = job(bundles={"A": a}, mode=0, latency={"seconds": 0.2, "min_samples": 3})
    events = list(remote.measure(given))
    assert {name: events[-1][name] for name in ("event", "ok", "restored")} == {
        "event": "end",
        "ok": True,
        "restored": True,
    }
    assert sum(event["event"] == "sensor" for event in events) > 3
    assert arm64.board.settings() == before
    assert arm64.board.leftovers() == []


def test_a_link_that_is_cut_there(remote: Remote, arm64: Arm64, a: str) -> None:
    before, events = arm64.board.settings(), list[Event]()

    def cut(event: Event) -> None:
        if event.get("name") == "warm":
            # sshd's own processes of a connection, by their ids
            text = (
                'for p in $(pgrep -x sshd); do [ $p = 1 ] || [ $p = "$PPID" ] || kill -9 $p; done'
            )
            with Ssh(arm64.url, config=arm64.config) as other:
                other.run(["sh", "-c", text], timeout_s=30, check=False)

    with pytest.raises(DeviceError, match="the link was lost"):
        follow(remote.measure(job(bundles={"A": a}, mode=0, **SLOW)), events, cut)
    ends = time.monotonic() + 30
    while time.monotonic() < ends and arm64.board.leftovers():
        time.sleep(0.1)
    assert arm64.board.settings() == before
    assert arm64.board.leftovers() == []
