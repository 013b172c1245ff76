from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded import events, rounds

from edgecc.errors import UnstableError, UsageError
from edgecc.measure.record import Record

START = '{"event":"start","schema_version":1,"job":{"bundles":{"B":"/b","A":"/a"}}}'


def parse(*lines: str) -> Record:
    return Record.parse([START, *lines])


def test_a_record_is_read_back() -> None:
    times = rounds(0, runs=5)
    record = Record.parse(map(json.dumps, events(times)))
    assert record.bundles == ["A", "B"]
    assert record.rounds("B") == {number: tuple(of) for number, of in times[1].items()}
    assert [s.when for s in record.states][:3] == ["before", "pinned", "round 0"]
    assert next(s.when for s in record.states if s.during) == "pinned"
    assert record.identity["model"] == "a board"
    assert not record.is_torn
    assert not record.malformed


def test_lines_that_are_no_event_are_counted() -> None:
    record = parse("", "no json", '["a list"]', '{"no": "event"}', '{"event":"note","text":"hot"}')
    assert record.malformed == (3, 4, 5)
    assert record.notes == ["hot"]


def test_a_torn_record_keeps_what_came_before() -> None:
    whole = '{"event":"times","bundle":"A","round":0,"kind":"latency","times_ms":[1,2]}'
    record = parse(whole, '{"event":"times","bundle":"A","round":1,"kin')
    assert record.is_torn
    assert record.rounds("A") == {0: (1.0, 2.0)}
    assert record.malformed == (3,)


@pytest.mark.parametrize("bad", ["[1,-2]", "[0]", '["3"]', "null", "[true]", "[NaN]", "[1e300]"])
def test_times_that_are_none_are_damage(bad: str) -> None:
    event = '{"event":"times","bundle":"A","round":0,"kind":"latency","times_ms":'
    record = parse(f"{event}{bad}}}")
    assert record.damaged == 1
    assert not record.times


def test_unknown_events_are_passed_over() -> None:
    assert parse('{"event":"aurora"}', '{"event":"end","ok":true}').is_torn is False


def test_the_order_of_the_bundles_is_the_jobs() -> None:
    line = '{"event":"times","bundle":"%s","round":0,"kind":"latency","times_ms":[1]}'
    assert parse(line % "A", line % "B").bundles == ["B", "A"]


def test_other_files_and_other_schemas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        Record.read(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="no record of a measurement"):
        Record.parse(["hello"])
    with pytest.raises(UsageError, match="schema 7"):
        Record.parse(['{"event":"start","schema_version":7}'])


def test_a_record_without_times_says_why() -> None:
    record = parse('{"event":"error","code":4,"message":"no trtexec"}')
    with pytest.raises(UnstableError, match="no trtexec"):
        record.require_times()
