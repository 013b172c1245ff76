"""A bundle for a Jetson, all the way: sent over ssh, its engine built there, and measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import conv_model
from jetson import standin
from jetson.board import Board, job
from jetson.following import Event, follow, of

from edgecc import job as compiler
from edgecc.device.remote import Remote
from edgecc.device.ssh import Ssh
from edgecc.errors import BuildError

pytestmark = pytest.mark.slow


@pytest.fixture
def engine_bundle(save: Callable[..., Path], tmp_path: Path) -> Path:
    model = save(conv_model(8, 8, (3, 3)))
    return compiler.build(model, "xavier", passes="", out=tmp_path / "net").folder


def test_an_engine_is_built_and_measured(ssh: Ssh, board: Board, engine_bundle: Path) -> None:
    standin.install(board.root, "8.5.2")
    before = board.settings()
    remote = Remote(ssh)
    place = remote.put(engine_bundle)
    built = list(remote.build(place))
    assert built[-1]["event"] == "engine"
    assert next(event["name"] for event in of(built, "raw")) == "trtexec-build-1.log"
    assert of(list(remote.build(place)), "build") == []  # it is kept
    given = job(bundles={"A": place}, mode=0, profile=True, idle_s=0.3, sample_interval_ms=50)
    events = list(remote.measure(given))
    assert events[-1]["ok"] is True
    times = {event["kind"]: event for event in of(events, "times")}
    assert times["latency"]["runner"] == "trtexec 8.5.2"
    assert len(times["latency"]["times_ms"]) == len(times["latency"]["compute_ms"]) > 3
    assert times["latency"]["shapes"] == {"x": [1, 8, 11, 11]}
    phases = {event["name"]: event for event in of(events, "phase")}
    watts = {name: power(events, phases[name]) for name in ("idle", "energy")}
    assert max(watts["idle"]) == "GPU 310mW"
    assert max(watts["energy"]) == "GPU 12910mW"
    (profile,) = of(events, "profile")
    assert profile["layers"][0]["median_ms"] > 0
    assert board.settings() == before


def power(events: list[Event], phase: Event) -> list[str]:
    """The GPU's power in the lines of a phase."""
    return [
        "GPU " + event["line"].rpartition(" GPU ")[2].partition("/")[0]
        for event in of(events, "sensor")
        if event["source"] == "tegrastats" and phase["start_s"] <= event["t_s"] <= phase["end_s"]
    ]


def test_without_its_engine_it_is_not_measured(ssh: Ssh, board: Board, engine_bundle: Path) -> None:
    standin.install(board.root, "8.5.2")
    remote, events = Remote(ssh), list[Event]()
    place = remote.put(engine_bundle)
    with pytest.raises(BuildError, match="has no engine on this board yet") as caught:
        follow(remote.measure(job(bundles={"A": place})), events)
    assert caught.value.hint == "edgecc-device build"
    assert board.log() == []
