"""Energy from records whose power is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from rails_of_boards import BOARDS

from edgecc.errors import UnstableError
from edgecc.measure.recorded_energy import energy

Event = dict[str, Any]
Watch = Callable[[float, float], Event]
"""An event of a sensor at a time, of a board that draws so many watts above idle."""
SHARE = {"GPU": 0.7, "CPU": 0.1, "SOC": 0.1, "CV": 0.0, "VDDRQ": 0.1, "SYS5V": 0.0}
IDLE_MA = {"GPU": 0, "CPU": 24, "SOC": 40, "CV": 0, "VDDRQ": 16, "SYS5V": 344}
IDLE_MW = 80 * 19.448 + 344 * 5.0  # 3.3 W: each rail at its own voltage


def ina3221(t_s: float, watts: float) -> Event:
    rails = {}
    for name, share in SHARE.items():
        mv = 5000 if name == "SYS5V" else 19448
        ma = IDLE_MA[name] + 1e6 * watts * share / mv
        rails[name] = {"mv": mv, "ma": 8 * round(ma / 8)}
    return {"event": "sensor", "source": "ina3221", "t_s": t_s, "rails": rails}


def tegrastats(t_s: float, watts: float) -> Event:
    told = ina3221(t_s, watts)["rails"]
    power = {name: each["mv"] * each["ma"] // 1000 for name, each in told.items()}
    rails = " ".join(f"{name} {mw}mW/{mw}mW" for name, mw in power.items())
    line = f"03-01-2026 10:00:00 RAM 1/2MB (lfb 1x2MB) CPU [0%@1190] GPU@30C {rails}"
    return {"event": "sensor", "source": "tegrastats", "t_s": t_s, "line": line}


class Rapl:
    """Counters of two packages and their memory, which go round at 60 J."""

    def __init__(self) -> None:
        self.uj, self.t_s = 50e6, 0.0

    def __call__(self, t_s: float, watts: float) -> Event:
        self.uj += 1e6 * (2.0 + watts) * (t_s - self.t_s)
        self.t_s = t_s
        told = {"package-0": self.uj % 60e6, "package-0/dram": 0.1 * self.uj, "psys": 9 * self.uj}
        uj = {**told, "package-0/core": 0.5 * self.uj}
        return {"event": "sensor", "source": "rapl", "t_s": t_s, "uj": uj}


def record(*watched: Watch, rounds: int = 2, watts: dict[str, float] | None = None) -> list[Event]:
    """Rounds of 10 s of idle and 30 s of each bundle, a second apart, two samples a second."""
    drawn = watts or {"A": 8.0, "B": 5.0}
    limits = [{"name": f"package-0{part}", "max_uj": 60e6} for part in ("", "/dram")]
    identity = {"sensors": {"rapl": limits, "ina3221": [{"label": "GPU", "dir": "hwmon3"}]}}
    events: list[Event] = [
        {"event": "start", "schema_version": 1},
        {"event": "identity", "identity": identity},
    ]
    at = 100.0
    for number in range(rounds):
        for name, seconds in (("idle", 10.0), *((bundle, 30.0) for bundle in drawn)):
            power = drawn.get(name, 0.0)
            events += (
                watch(t, power) for t in np.arange(at, at + seconds, 0.5) for watch in watched
            )
            is_idle = name == "idle"
            events.append(
                {
                    "event": "phase",
                    "name": "idle" if is_idle else "energy",
                    "bundle": None if is_idle else name,
                    "round": number,
                    "start_s": at,
                    "end_s": at + seconds,
                    "runs": None if is_idle else 1000,
                }
            )
            at += seconds + 1
    return events


@pytest.mark.parametrize("watch", [ina3221, tegrastats])
def test_rails_give_the_energy_of_a_run(watch: Watch) -> None:
    found = energy(record(watch), "A", BOARDS)
    assert found.source == watch.__name__
    assert (found.runs, found.duration_s) == (2000, 60)
    assert found.idle_mw is not None
    assert found.idle_mw["total"] == pytest.approx(IDLE_MW, abs=10)
    assert found.marginal_mj is not None
    assert found.marginal_uncertainty_mj is not None
    power_mw = IDLE_MW + 8000
    assert abs(found.power_mw["total"] - power_mw) <= found.power_uncertainty_mw["total"]
    assert abs(found.energy_mj["total"] - power_mw * 0.03) <= found.energy_uncertainty_mj["total"]
    assert abs(found.marginal_mj["total"] - 240) <= found.marginal_uncertainty_mj["total"]
    assert found.energy_uncertainty_mj["total"] < 0.05 * found.energy_mj["total"]
    assert found.energy_mj["GPU"] == pytest.approx(5600 * 0.03, abs=5)
    assert [one.round for one in found.rounds] == [0, 1]
    for one in found.rounds:
        assert one.marginal_mj is not None
        assert one.energy_mj["total"] == pytest.approx(found.energy_mj["total"], abs=1e-6)
        assert one.marginal_mj["total"] == pytest.approx(found.marginal_mj["total"], abs=1e-6)
    json.dumps(found.to_json(), allow_nan=False)


def test_bundles_are_told_apart() -> None:
    events = record(ina3221)
    a, b = (energy(events, name, BOARDS).energy_mj["total"] for name in "AB")
    assert a - b == pytest.approx(3000 * 0.03, abs=10)


def test_each_rail_has_its_own_voltage() -> None:
    found = energy(record(ina3221, watts={"A": 0.0}), "A", BOARDS)
    assert found.power_mw["total"] == pytest.approx(3275.84, abs=0.01)  # not 8.2 W


def test_readings_that_reach_back_before_a_pass_are_left_out() -> None:
    events = record(ina3221)
    starts = [event["start_s"] for event in events if event.get("bundle") == "A"]
    late = [
        ina3221(event["t_s"], 0.0)
        if event["event"] == "sensor" and event["t_s"] in starts
        else event
        for event in events
    ]  # the first reading of a pass is still of what was before it
    assert late != events
    told = energy(late, "A", BOARDS).energy_mj["total"]
    assert told == pytest.approx(energy(events, "A", BOARDS).energy_mj["total"], abs=1e-6)


def test_the_sensor_that_has_the_total_is_taken() -> None:
    def partly(t_s: float, watts: float) -> Event:
        event = ina3221(t_s, watts)
        del event["rails"]["SYS5V"]
        return event

    assert energy(record(ina3221, tegrastats), "A", BOARDS).source == "ina3221"
    assert energy(record(partly, tegrastats), "A", BOARDS).source == "tegrastats"
    alone = energy(record(partly), "A", BOARDS)
    assert alone.refused == "the total needs SYS5V, which is not there"
    assert "total" not in alone.energy_mj
    assert alone.energy_mj["GPU"] > 0


def test_counters_that_go_round() -> None:
    found = energy(record(Rapl(), rounds=1), "A", {})
    assert found.source == "rapl"
    assert found.energy_mj["package-0"] == pytest.approx(10_000 * 0.03, abs=5)
    assert found.energy_mj["package-0/dram"] == pytest.approx(1000 * 0.03, abs=0.5)
    assert found.energy_mj["total"] == pytest.approx(11_000 * 0.03, abs=5.5)
    assert found.marginal_mj is not None
    assert found.marginal_mj["package-0"] == pytest.approx(8000 * 0.03, abs=5)
    assert set(found.energy_mj) == {"package-0", "package-0/dram", "total"}
    assert any("not the machine" in note for note in found.notes)


def test_damaged_lines_of_tegrastats_are_counted() -> None:
    def flaky(t_s: float, watts: float) -> Event:
        event = tegrastats(t_s, watts)
        return {**event, "line": event["line"][:90]} if t_s % 5 == 0 else event

    found = energy(record(flaky), "A", BOARDS)
    assert found.energy_mj["total"] == pytest.approx((IDLE_MW + 8000) * 0.03, abs=10)
    assert found.notes == ("28 of 280 lines of tegrastats are malformed: left out",)


def without(events: list[Event], *names: str) -> Iterator[Event]:
    return (event for event in events if event.get("name", event["event"]) not in names)


def test_records_that_cannot_tell() -> None:
    events = record(ina3221)
    with pytest.raises(UnstableError, match="no energy pass of C"):
        energy(events, "C", BOARDS)
    with pytest.raises(UnstableError, match="the record has no power"):
        energy(list(without(events, "sensor")), "A", BOARDS)
    few = [e for e in events if e["event"] != "sensor" or e["t_s"] < 112]
    with pytest.raises(UnstableError, match=r"1 samples of power \(ina3221\) in 30.0 s"):
        energy(list(without(few, "idle")), "A", BOARDS)
    found = energy(list(without(events, "idle")), "A", BOARDS)
    assert (found.idle_mw, found.marginal_mj) == (None, None)
    assert any("idle was not measured" in note for note in found.notes)
