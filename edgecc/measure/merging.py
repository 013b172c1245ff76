"""What several boards recorded, as one record: their rounds one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecc import catalog
from edgecc.measure.candidates import Entrants
from edgecc.measure.conclusion import Conclusion, conclude
from edgecc.measure.fleet import Fleet
from edgecc.measure.record import Event, Record
from edgecc.measure.trace import Recorder, Trace
from edgecc.measure.trust import Doubt, Limits


def merge(fleet: Fleet, found: Entrants, home: Path, limits: Limits) -> Conclusion:
    """Conclude on each board by itself, then on all of them together.

    A ratio is taken inside a round, so that boards of different speed make it no less sure; what
    cannot be trusted on a board is not trusted here.
    Errors: `edgecc.errors.UnstableError` where a board measured nothing.
    """
    target = catalog.target(found.target)
    each = [
        (board, conclude(trace, found.folders, target, limits)) for board, trace in fleet.traces
    ]
    doubts = [
        replace(doubt, text=f"on {board}, {doubt.text}")
        for board, conclusion in each
        for doubt in conclusion.measurement.doubts
    ]
    trace = Trace.new(home)
    trace.keep_environment(_environment(fleet, each))
    with Recorder(trace) as recorder:
        for event in _events([(b, c.measurement.record) for b, c in each]):
            recorder.keep(event)
    return conclude(trace, found.folders, target, limits, _few(doubts))


def _few(doubts: Sequence[Doubt]) -> list[Doubt]:
    """Each once."""
    return list(dict.fromkeys(doubts))


def _environment(fleet: Fleet, each: Sequence[tuple[str, Conclusion]]) -> dict[str, Any]:
    """That of the first board, with all boards named and their losses told."""
    first = each[0][1].measurement.environment
    boards = [{"board": board, "trace": conclusion.trace.folder.name} for board, conclusion in each]
    notes = [*first.get("notes", []), *map(str, fleet.losses)]
    names = ", ".join(dict.fromkeys(board for board, _ in each))
    return {**first, "device": names, "boards": boards, "notes": notes}


def _events(records: Sequence[tuple[str, Record]]) -> Iterator[Event]:
    """Every event with its board, the rounds numbered on."""
    passed = 0
    for board, record in records:
        rounds = [times.round for times in record.times]
        for event in record.events:
            moved: Event = {**event, "board": board}
            if isinstance(event.get("round"), int):
                moved["round"] = event["round"] + passed
            if str(event.get("when", "")).startswith("round "):
                moved["when"] = f"round {int(event['when'].split()[1]) + passed}"
            yield moved
        passed += max(rounds, default=-1) + 1
