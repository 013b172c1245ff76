from __future__ import annotations

import json
from typing import Any

import pytest
from recorded import events, rounds

from edgecc.errors import UnstableError
from edgecc.measure.record import Record
from edgecc.measure.trust import Doubt, Limits, demand, doubts

Events = list[dict[str, Any]]
PINNED = {"cpu": 0, "online": True, "min_khz": 2_000_000, "max_khz": 2_000_000}


def told(**state: Any) -> Events:
    return events(rounds(1, runs=40), **state)


def found(given: Events, shapes: Any = None, limits: Limits | None = None) -> list[Doubt]:
    return doubts(Record.parse(map(json.dumps, given)), limits or Limits(), shapes)


def state(given: Events, when: str) -> dict[str, Any]:
    """The state of that moment, to be changed."""
    event = next(event for event in given if event.get("when") == when)
    event["state"] = json.loads(json.dumps(event["state"]))
    return event["state"]


def the_one(given: Events, **more: Any) -> Doubt:
    (doubt,) = found(given, **more)
    return doubt


def test_a_quiet_record_is_trusted() -> None:
    assert found(told(cpus=[{**PINNED, "cur_khz": 2_000_000}], throttle={"cpu0": 3})) == []


def test_a_pinned_clock_that_ran_at_another() -> None:
    given = told(cpus=[{**PINNED, "cur_khz": 1_990_000}])
    state(given, "round 2")["cpus"][0]["cur_khz"] = 1_400_000
    doubt = the_one(given)
    assert doubt.kind == "clocks"
    assert "CPU 0 is pinned, and went from 1990 to 1400 MHz" in doubt.text


def test_an_idle_clock_that_nobody_pinned_may_move() -> None:
    given = told(gpu={"min_hz": 100e6, "max_hz": 1377e6, "cur_hz": 100e6})
    state(given, "round 1")["gpu"]["cur_hz"] = 1377e6
    assert found(given) == []


def test_a_clock_whose_bounds_change() -> None:
    given = told(gpu={"min_hz": 100e6, "max_hz": 1377e6, "cur_hz": 100e6})
    state(given, "round 3")["gpu"]["max_hz"] = 675e6
    assert "GPU was 100 to 1377 MHz and became 100 to 675 MHz" in the_one(given).text


def test_a_core_that_goes_off() -> None:
    given = told(cpus=[{**PINNED, "cur_khz": 2_000_000}, {**PINNED, "cpu": 1}])
    state(given, "round 1")["cpus"][1]["online"] = False
    assert "CPU 1 went off" in the_one(given).text


def test_throttling_is_a_counter_that_rose_or_an_alarm() -> None:
    given = told(throttle={"cpu0": 3, "oc1_alarm": 0, "pwm-fan": 1})
    state(given, "round 1")["throttle"]["pwm-fan"] = 9
    assert found(given) == []
    state(given, "after")["throttle"]["cpu0"] = 4
    assert the_one(given).text.endswith(": cpu0")
    state(given, "round 2")["throttle"]["oc1_alarm"] = 1
    assert the_one(given).text.endswith(": oc1_alarm, cpu0")


def test_a_device_that_is_too_hot() -> None:
    given = told(temps_c={"CPU": 60.0, "PMIC": 255.0})
    state(given, "round 4")["temps_c"]["CPU"] = 96.5
    assert the_one(given).kind == "hot"


def test_a_power_mode_that_changes_after_it_was_set() -> None:
    given = told()
    state(given, "before")["mode"] = {"id": 2, "name": "MODE_15W"}
    assert found(given) == []
    state(given, "round 2")["mode"] = {"id": 2, "name": "MODE_15W"}
    assert the_one(given).kind == "mode"


def test_a_device_that_starts_again() -> None:
    given = told()
    state(given, "after")["boot_id"] = "b1"
    assert the_one(given).kind == "reboot"


def test_a_torn_record() -> None:
    assert the_one(told()[:-1]).kind == "torn"


def test_what_the_device_reports() -> None:
    given = told()
    error = {"event": "error", "code": 7, "message": "clock fell", "hint": "cool it"}
    doubt = the_one([*given[:-1], error, given[-1]])
    assert (doubt.text, doubt.hint) == ("the device reported: clock fell", "cool it")


def test_too_few_runs_and_rounds() -> None:
    kinds = {
        doubt.kind for doubt in found(events(rounds(1, runs=10, count=2, within=0.0, spikes=0)))
    }
    assert kinds == {"samples", "rounds"}
    assert found(events(rounds(1, runs=40, count=2)[:1])) == []


def test_runs_that_vary() -> None:
    given = events(rounds(1, within=0.2))
    assert {doubt.kind for doubt in found(given)} == {"spread"}
    assert found(given, limits=Limits(spread=0.3)) == []


def test_rounds_that_lie_apart() -> None:
    times = rounds(1, runs=40)
    times[0][3] = [1.3 * t for t in times[0][3]]
    assert the_one(events(times)).kind == "drift"


def test_a_clock_that_comes_up_in_every_round() -> None:
    times = {number: [6.8] * 100 + [4.9] * 120 for number in range(3)}
    kinds = {doubt.kind for doubt in found(events([times]))}
    assert "trend" in kinds


def test_open_sizes_that_were_taken_for_one() -> None:
    given = told()
    for event in given:
        if event["event"] == "times" and event["bundle"] == "B":
            event["shapes"] = {"x": [1, 3, 1, 1]}
    shapes = {"B": {"x": [None, 3, 224, 224]}}
    assert (
        "the input x of B was run as 1x3x1x1, not ?x3x224x224" in the_one(given, shapes=shapes).text
    )
    assert found(given, shapes={"B": {"x": [1, 3, 1, 1]}}) == []


def test_open_sizes_that_are_not_those_that_the_device_was_told() -> None:
    given = told()
    given[0]["job"]["shapes"] = {"x": [8, 3, 224, 224]}
    for event in given:
        if event["event"] == "times" and event["bundle"] == "A":
            event["shapes"] = {"x": [1, 3, 224, 224]}
    open_batch = {"A": {"x": [None, 3, 224, 224]}}
    doubt = the_one(given, shapes=open_batch)
    assert "the input x of A was run as 1x3x224x224, not 8x3x224x224" in doubt.text
    given[0]["job"]["shapes"] = None
    assert found(given, shapes=open_batch) == []


def test_a_refusal_has_every_reason_and_what_to_do() -> None:
    demand([], "record.jsonl")
    with pytest.raises(UnstableError) as refused:
        demand([Doubt("a", "it is hot", "cool it"), Doubt("b", "it is slow", "cool it")], "x.jsonl")
    assert refused.value.exit_code == 7
    assert str(refused.value) == (
        "the measurement cannot be trusted: it is hot; it is slow\n"
        "  hint: cool it. What was recorded: x.jsonl"
    )
