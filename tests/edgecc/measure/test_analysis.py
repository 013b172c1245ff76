"""What is told of a record besides its numbers."""

from __future__ import annotations

import json

from recorded import events, rounds

from edgecc.measure.analysis import analyse
from edgecc.measure.record import Record
from edgecc.measure.trust import Limits


def test_an_engine_that_is_not_as_asked_is_told() -> None:
    told = events(rounds(0))
    steps = [{"why": "as asked"}, {"why": "no implementation for conv in fp16: kept in fp32"}]
    told[2:2] = [
        {"event": "engine", "record": {"steps": steps[:1]}},
        {"event": "engine", "record": {"steps": steps}},
        {"event": "engine", "record": {}},
    ]
    found = analyse(Record.parse(map(json.dumps, told)), {}, Limits())
    assert [note for note in found.notes if "engine" in note] == [
        "an engine took 2 builds: no implementation for conv in fp16: kept in fp32"
    ]


def test_a_bundle_that_is_measured_alone_needs_no_label() -> None:
    told = map(json.dumps, events(rounds(0, factors=(1.0,), count=1, runs=40)))
    found = analyse(Record.parse(told), {}, Limits())
    assert [doubt.text for doubt in found.doubts] == [
        "the bundle has 40 runs, and 50 are the least"
    ]
