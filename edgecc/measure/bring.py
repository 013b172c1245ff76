"""Takes what a device recorded by itself into the bundle that it was recorded with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from edgecc import bundle, catalog
from edgecc.errors import UsageError
from edgecc.measure.candidates import Candidate, check_fits
from edgecc.measure.conclusion import Conclusion, conclude
from edgecc.measure.record import Record
from edgecc.measure.trace import Trace
from edgecc.measure.trust import Limits

ENGINES = "engines"
"""The folder in a bundle's trace with what became of its engines."""


def bring(folder: Path, record: Path, limits: Limits) -> Conclusion:
    """Copy a record into the bundle's trace, verbatim, and analyse it there.

    Errors: `edgecc.errors.UsageError` for what is no record, `edgecc.errors.DeviceError` for one
    of another kind of device, `edgecc.errors.UnstableError` for one without times.
    """
    candidate = Candidate.read(folder)
    read = Record.read(record)
    check_fits(candidate, read.identity, str(record))
    board = catalog.target(candidate.target)
    trace = Trace.new(folder)
    shutil.copyfile(record, trace.record)
    for event in read.of("raw"):
        trace.keep_raw(str(event.get("name")), str(event.get("text")))
    label = _label(read, candidate)
    trace.keep_environment(
        {
            "schema_version": 1,
            "edgecc": version("edgecc"),
            "device": read.identity.get("hostname"),
            "target": board.name,
            "identity": read.identity,
            "imported_from": str(record.resolve()),
            "bundles": {label: candidate.describe()},
            "notes": list(candidate.assumed),
        }
    )
    return conclude(trace, {label: folder}, board, limits)


def engine_record(path: Path) -> dict[str, Any] | None:
    """Return what a file says of an engine that a board built; None where it is something else.

    Either the record that lies beside the engine, or the events that its build printed.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    whole = _json(text)
    if whole is not None and "key" in whole and "event" not in whole:
        return whole
    events = [event for line in text.splitlines() if (event := _json(line)) is not None]
    if any(event.get("event") == "start" for event in events):
        return None
    built = [event for event in events if event.get("event") == "engine"]
    return dict(built[-1].get("record") or built[-1]) if built else None


def bring_engine(folder: Path, path: Path, told: Mapping[str, Any]) -> Path:
    """Keep what a board says of the engine that it built from the bundle; return where.

    Errors: `edgecc.errors.ModelError` for a broken bundle.
    """
    bundle.check(folder)
    place = folder / bundle.TRACE / ENGINES
    place.mkdir(parents=True, exist_ok=True)
    kept = place / f"{str(told.get('key') or path.stem)[:24]}.json"
    shutil.copyfile(path, kept)
    return kept


def _label(record: Record, candidate: Candidate) -> str:
    """The label under which a record speaks of the bundle.

    Errors: `edgecc.errors.UsageError` where it has several, and none is it.
    """
    asked = record.job.get("bundles")
    places = asked if isinstance(asked, Mapping) else {}
    own = {candidate.place, candidate.folder.resolve().name}
    for label, place in places.items():
        if PurePosixPath(str(place)).name in own:
            return str(label)
    labels = record.bundles or list(places)
    if len(labels) > 1:
        raise UsageError(
            f"the record is of {len(labels)} bundles, and none of them is called "
            f"{candidate.folder.name}",
            hint="give the bundle's folder the name that it had on the device: "
            + ", ".join(PurePosixPath(str(place)).name for place in places.values()),
        )
    return labels[0] if labels else "A"


def _json(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
