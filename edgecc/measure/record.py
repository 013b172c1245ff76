"""Reads what the agent on the device wrote down: JSON lines, one event each, a torn end included.

The events are described where they are made, in `edgecc.device.agent`. Kinds that are not known
here are kept and passed over: a newer agent may tell more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgecc.errors import UnstableError, UsageError

SCHEMA_VERSION = 1
MALFORMED = "malformed"
"""How the host keeps a line that the device sent and that is no event."""
Event = dict[str, Any]
Kind = Literal["latency", "energy"]


@dataclass(frozen=True)
class Times:
    """What each run of one pass over one bundle took."""

    bundle: str
    """Its label in the job: A, B."""
    round: int
    kind: Kind
    times_ms: tuple[float, ...]
    """In their order."""
    runner: str | None = None
    compute_ms: tuple[float, ...] = ()
    """The part on the accelerator alone, where the runner tells it."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of the inputs as they were really bound, where the runner tells them."""


@dataclass(frozen=True)
class State:
    """What was true of the device at one moment."""

    when: str
    """before, pinned, "round 0", ..., after."""
    state: dict[str, Any]

    @property
    def during(self) -> bool:
        """Whether it was taken while the device was set up for measuring."""
        return self.when == "pinned" or self.when.startswith("round")


@dataclass(frozen=True)
class Record:
    """Everything that one session on a device wrote down."""

    events: tuple[Event, ...]
    malformed: tuple[int, ...] = ()
    """Numbers of the lines that are no event, from 1; they are counted, never guessed at."""
    path: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a record file.

        Errors: `edgecc.errors.UsageError` for a file that is no record, or one of another schema.
        """
        try:
            text = path.read_text(errors="replace")
        except OSError as error:
            raise UsageError(f"cannot read the record {path}: {error.strerror}") from None
        return cls.parse(text.splitlines(), path)

    @classmethod
    def parse(cls, lines: Iterable[str], path: Path | None = None) -> Record:
        """Read the lines of a record. Errors: as `read`."""
        events: list[Event] = []
        malformed = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            event = _event(line)
            if event is None or event["event"] == MALFORMED:
                malformed.append(number)
            else:
                events.append(event)
        record = cls(tuple(events), tuple(malformed), path)
        record._check(path or "what was read")
        return record

    def _check(self, name: Path | str) -> None:
        start = self.start
        if start is None:
            raise UsageError(
                f"{name} is no record of a measurement: no event in it says that one started",
                hint="a record is what 'edgecc-device measure' writes: record-....jsonl",
            )
        if start.get("schema_version") != SCHEMA_VERSION:
            raise UsageError(
                f"{name} is a record of schema {start.get('schema_version')}, and this edgecc "
                f"reads {SCHEMA_VERSION}",
                hint="read it with the edgecc that made its bundle",
            )

    def called(self, label: str) -> str:
        """Return how a bundle is told of: by its label, where there are several."""
        return label if len(self.bundles) > 1 else "the bundle"

    def of(self, kind: str) -> Iterator[Event]:
        """Yield the events of one kind, in their order."""
        return (event for event in self.events if event["event"] == kind)

    def first(self, kind: str) -> Event | None:
        """Return the first event of a kind."""
        return next(self.of(kind), None)

    @property
    def start(self) -> Event | None:
        """What began the session."""
        return self.first("start")

    @property
    def job(self) -> dict[str, Any]:
        """What the device was asked to do."""
        job = (self.start or {}).get("job")
        return job if isinstance(job, dict) else {}

    @property
    def identity(self) -> dict[str, Any]:
        """What the device is."""
        found = (self.first("identity") or {}).get("identity")
        return found if isinstance(found, dict) else {}

    @property
    def states(self) -> list[State]:
        """What was true of the device, in the order of time."""
        return [
            State(str(event.get("when", "")), event["state"])
            for event in self.of("state")
            if isinstance(event.get("state"), dict)
        ]

    @property
    def times(self) -> list[Times]:
        """Every pass; one whose numbers are none is left out and counted by `damaged`."""
        return [times for event in self.of("times") if (times := _times(event)) is not None]

    @property
    def damaged(self) -> int:
        """How many passes have no readable times."""
        return sum(_times(event) is None for event in self.of("times"))

    @property
    def bundles(self) -> list[str]:
        """The labels of the bundles that have times, in the job's order."""
        asked = self.job.get("bundles")
        found = {times.bundle for times in self.times}
        order = [name for name in asked if name in found] if isinstance(asked, dict) else []
        return [*order, *sorted(found - set(order))]

    @property
    def notes(self) -> list[str]:
        """What the agent remarked."""
        return [str(event["text"]) for event in self.of("note") if "text" in event]

    @property
    def errors(self) -> list[Event]:
        """What ended the session, or a part of it."""
        return list(self.of("error"))

    @property
    def is_torn(self) -> bool:
        """Whether the session did not end by itself: the link was cut, the agent was killed."""
        return self.first("end") is None

    def rounds(self, bundle: str, kind: Kind = "latency") -> dict[int, tuple[float, ...]]:
        """Return the times of a bundle by round, milliseconds."""
        found: dict[int, tuple[float, ...]] = {}
        for times in self.times:
            if times.bundle == bundle and times.kind == kind and times.times_ms:
                found[times.round] = found.get(times.round, ()) + times.times_ms
        return dict(sorted(found.items()))

    def require_times(self) -> None:
        """Refuse a record that holds nothing measured. Errors: `edgecc.errors.UnstableError`."""
        if any(times.kind == "latency" and times.times_ms for times in self.times):
            return
        said = next((str(event.get("message")) for event in self.errors), None)
        raise UnstableError(
            f"the record {self.path or ''} holds no times" + (f": {said}" if said else ""),
            hint="measure again; what there is of the record is kept",
        )


def _event(line: str) -> Event | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else None


def _times(event: Event) -> Times | None:
    """Read a pass; None where what should be positive numbers is not."""
    kind = event.get("kind", "latency")
    times_ms = _numbers(event.get("times_ms"))
    number = event.get("round", 0)
    if times_ms is None or kind not in ("latency", "energy") or not isinstance(number, int):
        return None
    shapes = event.get("shapes")
    return Times(
        str(event.get("bundle", "A")),
        number,
        kind,
        times_ms,
        event.get("runner"),
        _numbers(event.get("compute_ms")) or (),
        {name: tuple(sizes) for name, sizes in shapes.items()} if isinstance(shapes, dict) else {},
    )


def _numbers(found: Any) -> tuple[float, ...] | None:
    if not isinstance(found, list):
        return None
    good = all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9
        for value in found
    )
    return tuple(map(float, found)) if good else None
