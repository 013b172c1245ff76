"""A session of measuring on the stand-in Jetson: what it does, and that it puts everything back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jetson.board import GPU, Board, bundle, job
from jetson.following import Event, follow, of

from edgecc.device.agent import arrays, measuring, protocol
from edgecc.device.agent.events import SessionError
from edgecc.device.local import Local
from edgecc.device.remote import Remote
from edgecc.errors import DeviceError, UnstableError, UsageError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as setting clocks does")


@pytest.fixture
def a(board: Board, tmp_path: Path) -> Path:
    return bundle(tmp_path / "A")


def test_bundles_are_measured_in_turns_and_everything_is_put_back(
    remote: Remote, board: Board, a: Path, tmp_path: Path
) -> None:
    b, before = bundle(tmp_path / "B"), board.settings()
    given = job(bundles={"A": str(a), "B": str(b)}, rounds=2, order="ABBA", mode=0)
    events = list(remote.measure(given))
    phases = [(e["name"], e["bundle"], e["round"]) for e in of(events, "phase")]
    each = ("warm", "latency", "energy")
    assert phases == [
        ("settle", None, None),
        *[("idle", None, 0), *((name, label, 0) for label in "AB" for name in each)],
        *[("idle", None, 1), *((name, label, 1) for label in "BA" for name in each)],
    ]
    states = {event["when"]: event["state"] for event in of(events, "state")}
    assert list(states) == ["before", "pinned", "round 0", "round 1", "after"]
    gpu = states["pinned"]["gpu"]
    assert (gpu["min_hz"], gpu["max_hz"], gpu["cur_hz"]) == (1377000000,) * 3
    assert states["pinned"]["mode"] == {"id": 0, "name": "MAXN"}
    assert states["after"]["gpu"] == {**states["before"]["gpu"], "cur_hz": 675750000}
    assert events[0]["job"]["bundles"] == {"A": str(a), "B": str(b)}
    assert {key: events[-1][key] for key in ("event", "ok", "restored")} == {
        "event": "end",
        "ok": True,
        "restored": True,
    }
    assert board.settings() == before
    assert board.log() == ["nvpmodel 0", "pin", "nvpmodel 2", "restore"]
    assert board.leftovers() == []
    (record,) = (a / "trace").iterdir()
    assert [json.loads(line) for line in record.read_text().splitlines()] == events


OLD = sorted(Path("~/.pyenv/versions").expanduser().glob("3.6*/bin/python3.6"))


@pytest.mark.skipif(not OLD, reason="needs a Python 3.6 under ~/.pyenv/versions")
def test_jetpack_4_with_its_own_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECC_SYSROOT", str(tmp_path / "root"))
    monkeypatch.setenv("HOME", str(tmp_path))
    board, place = Board.make(tmp_path / "root", "4.6"), bundle(tmp_path / "A")
    before, way = board.settings(), Local()
    way.python = str(OLD[0])
    events = list(Remote(way).measure(job(bundles={"A": str(place)}, mode=0)))
    assert of(events, "identity")[0]["identity"]["python"].startswith("3.6")
    (line,) = {e["line"].partition(" GPU ")[2] for e in of(events, "sensor") if "line" in e}
    assert line == "310/310 CPU 467/467 SOC 1245/1245 CV 0/0 VDDRQ 311/311 SYS5V 1482/1482"
    assert events[-1]["ok"] is True
    assert board.settings() == before


def test_times_lie_in_their_phases_and_sensors_outside_of_latency(remote: Remote, a: Path) -> None:
    given = job(bundles={"A": str(a)}, idle_s=0.3, energy={"seconds": 0.4})
    events = list(remote.measure(given))
    phases = {event["name"]: event for event in of(events, "phase")}
    for times in of(events, "times"):
        phase = phases[times["kind"]]
        assert len(times["times_ms"]) == phase["runs"] >= 3
        assert sum(times["times_ms"]) / 1e3 <= phase["end_s"] - phase["start_s"] + 1e-3
        assert 2 <= min(times["times_ms"]) < 50
    seen = {"idle": 0, "energy": 0, "latency": 0}
    for sensor in of(events, "sensor"):
        for name in seen:
            seen[name] += phases[name]["start_s"] <= sensor["t_s"] <= phases[name]["end_s"]
    assert seen["idle"] >= 2
    assert seen["energy"] >= 2
    assert seen["latency"] == 0
    lines = [e["line"] for e in of(events, "sensor") if e["source"] == "tegrastats"]
    assert all("GPU 310mW/310mW" in line for line in lines)
    read = [e["rails"] for e in of(events, "sensor") if e["source"] == "ina3221"]
    assert read[0]["SYS5V"] == {"mv": 5032, "ma": 344}


def test_without_an_energy_pass_nothing_is_watched(remote: Remote, a: Path) -> None:
    events = list(remote.measure(job(bundles={"A": str(a)}, energy=None, pin=False)))
    assert of(events, "sensor") == []
    assert [event["name"] for event in of(events, "phase")] == ["settle", "warm", "latency"]
    assert [event["text"] for event in of(events, "note")] == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (f"{GPU}/max_freq", 318750000, "the GPU's max_hz went from 675750000 to 318750000"),
        (f"{GPU}/cur_freq", 318750000, "is held at 676 MHz and runs at 319 MHz: it throttles"),
        ("sys/class/hwmon/hwmon1/oc1_event_cnt", 1, "the device slowed itself down"),
    ],
)
def test_a_device_that_changes_under_the_run_is_not_trusted(
    remote: Remote, board: Board, a: Path, file: str, text: object, said: str
) -> None:
    before = board.settings()
    events: list[Event] = []

    def change(event: Event) -> None:
        if event.get("when") == "pinned":
            board.write(file, text)

    with pytest.raises(UnstableError, match=said):
        follow(remote.measure(job(bundles={"A": str(a)})), events, change)
    assert of(events, "error")[0]["code"] == 7
    assert (events[-1]["ok"], events[-1]["restored"]) == (False, True)
    assert board.settings() == before


def test_garbage_of_tegrastats_is_kept_as_it_is(remote: Remote, board: Board, a: Path) -> None:
    board.fail("tegrastats-garbage")
    events = list(remote.measure(job(bundles={"A": str(a)}, idle_s=0.4)))
    lines = [e["line"] for e in of(events, "sensor") if e["source"] == "tegrastats"]
    assert any('RAM 12\\34/ {"event": "end"}' in line for line in lines)
    assert events[-1]["ok"] is True


def test_tegrastats_that_dies_twice_is_no_measurement(
    remote: Remote, board: Board, a: Path
) -> None:
    board.fail("tegrastats-dies")
    events: list[Event] = []
    with pytest.raises(UnstableError, match="tegrastats ended again: the power was not measured"):
        follow(remote.measure(job(bundles={"A": str(a)}, idle_s=1.5)), events)
    assert "tegrastats ended and was started again" in [e["text"] for e in of(events, "note")]
    assert events[-1]["restored"] is True


@pytest.mark.slow
def test_tegrastats_that_stalls_twice_is_no_measurement(
    remote: Remote, board: Board, a: Path
) -> None:
    board.fail("tegrastats-stalls")
    with pytest.raises(UnstableError, match="tegrastats was silent for 5 s again"):
        follow(remote.measure(job(bundles={"A": str(a)}, idle_s=11)), [])


def test_a_runner_that_fails(remote: Remote, board: Board, a: Path) -> None:
    (a / "dies").touch()
    before = board.settings()
    with pytest.raises(DeviceError, match=r"runner of .*/A failed: exit code 1: the network") as e:
        follow(remote.measure(job(bundles={"A": str(a)})), [])
    assert "run it by hand on the device" in (e.value.hint or "")
    assert board.settings() == before


def test_a_job_has_a_limit(remote: Remote, board: Board, a: Path) -> None:
    (a / "run_s").write_text("30")
    before = board.settings()
    with pytest.raises(
        DeviceError, match=r"edgecc-run was not done after [01]\.\d s and was ended"
    ):
        follow(remote.measure(job(bundles={"A": str(a)}, limit_s=2)), [])
    assert board.settings() == before


def test_a_mode_that_takes_a_reboot_is_refused(remote: Remote, board: Board, a: Path) -> None:
    before = board.settings()
    with pytest.raises(DeviceError, match="power mode 1 takes a reboot"):
        follow(remote.measure(job(bundles={"A": str(a)}, mode=1)), [])
    assert board.settings() == before
    assert not (board.root / "standin/rebooted").exists()


def test_what_cannot_be_put_back_is_told_and_bars_the_next_session(
    remote: Remote, board: Board, a: Path
) -> None:
    board.fail("restore-fails")
    (board.root / f"{GPU}/min_freq").chmod(0o644)
    events = list(remote.measure(job(bundles={"A": str(a)})))
    assert events[-1]["restored"] is False
    assert any("not put back: jetson_clocks --restore" in e["text"] for e in of(events, "note"))
    with pytest.raises(DeviceError, match="an earlier session left this device changed") as caught:
        follow(remote.measure(job(bundles={"A": str(a)})), [])
    assert "edgecc-device restore --forget" in (caught.value.hint or "")
    (board.root / "standin/restore-fails").unlink()
    assert remote.restore()["failed"] == []
    assert remote.restore() == {"restored": [], "failed": []}
    assert list(remote.measure(job(bundles={"A": str(a)})))[-1]["ok"] is True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"machine": "x86_64"}, "is for x86_64, and this device is aarch64"),
        ({"backend": "coreml"}, "is for coreml, which cannot be measured"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": ["n", 3]}]}, "has no fixed shape"),
        ({"inputs": [{"name": "x", "dtype": "bfloat16", "shape": [1]}]}, "no input of type bfloat"),
    ],
)
def test_bundles_that_cannot_be_measured(
    remote: Remote, board: Board, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    place = bundle(tmp_path / "C", **changes)
    with pytest.raises(DeviceError, match=said):
        follow(remote.measure(job(bundles={"A": str(place)})), [])
    assert board.log() == []


def test_a_folder_that_is_no_bundle(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="is not a bundle that can be measured"):
        follow(remote.measure(job(bundles={"A": str(tmp_path / "absent")})), [])
    with pytest.raises(UsageError, match="is not a bundle"):
        remote.put(tmp_path)


def test_a_job_is_read_whole(a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # paths in a job are relative to where it is read
    found = measuring.read_job([str(a)])
    assert found["bundles"] == {"A": str(a)}
    assert (found["order"], found["rounds"], found["energy"]) == ("A", 4, {"seconds": 30.0})
    assert Path(found["record"]).parent == a / "trace"
    (a / "job.json").write_text('{"bundles": {"A": "x"}, "latency": {"seconds": 3}}')
    found = measuring.read_job([str(a / "job.json")])
    assert found["latency"] == {"seconds": 3, "min_samples": 200, "max_samples": 20000}
    Path(found["record"]).parent.mkdir(parents=True)
    Path(found["record"]).touch()
    given = {"bundles": {"A": str(a)}, "record": found["record"]}
    (a / "job.json").write_text(json.dumps(given))
    with pytest.raises(SessionError, match="is there already"):
        measuring.read_job([str(a / "job.json")])
    (a / "job.json").write_text('{"bundles": {"long": "x"}}')
    with pytest.raises(SessionError, match="names of one letter"):
        measuring.read_job([str(a / "job.json")])


@pytest.mark.parametrize(
    ("order", "turns"),
    [("ABAB", ["AB", "AB", "AB"]), ("ABBA", ["AB", "BA", "AB"]), ("AA", ["AB"] * 3)],
)
def test_turns(board: Board, order: str, turns: list[str]) -> None:
    given = measuring.DEFAULTS | {"bundles": {"A": "", "B": ""}, "order": order}
    session = protocol.Session(given, events=None)
    assert ["".join(session._turns(number)) for number in range(3)] == turns
    session.close()


@pytest.mark.parametrize("dtype", sorted(arrays.KINDS))
def test_inputs_are_numpys(tmp_path: Path, dtype: str) -> None:
    arrays.write(str(tmp_path / "x.npy"), dtype, [2, 3, 1000])
    found = np.load(tmp_path / "x.npy")
    assert (found.dtype, found.shape) == (np.dtype(dtype), (2, 3, 1000))
    assert np.all((found >= 0) & (found <= 1))
    arrays.write(str(tmp_path / "x.npy"), dtype, [])
    assert np.load(tmp_path / "x.npy").shape == ()
