"""Measurements of several runs, under names that tell them apart."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecc.errors import UnstableError
from edgecc.measure.analysis import analyse
from edgecc.measure.record import Record
from edgecc.measure.trace import MEASUREMENT, Trace
from edgecc.measure.trust import Limits


def measurements(
    given: Sequence[Path], limits: Limits
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the content of measurement.json of each run, from its record where there is none; and
    why there is none of others.

    A run is a bundle, a folder in its trace, or a record by itself.
    Errors: `edgecc.errors.UsageError`, `edgecc.errors.UnstableError` where no record has times.
    """
    told = {name: _measured(path, limits) for name, path in zip(_names(given), given, strict=True)}
    found = {name: one for name, one in told.items() if not isinstance(one, UnstableError)}
    without = {name: one for name, one in told.items() if isinstance(one, UnstableError)}
    if without and not found:
        raise next(iter(without.values()))
    return found, {name: error.message for name, error in without.items()}


def _measured(given: Path, limits: Limits) -> dict[str, Any] | UnstableError:
    try:
        return _measurement(given, limits)
    except UnstableError as error:
        return error


def _measurement(given: Path, limits: Limits) -> dict[str, Any]:
    if given.is_file() and given.suffix == ".jsonl" and not (given.parent / MEASUREMENT).is_file():
        return analyse(Record.read(given), {}, limits).to_json()
    trace = Trace.of(given)
    try:
        found = json.loads((trace.folder / MEASUREMENT).read_text())
    except (OSError, ValueError):  # none yet, as the run was interrupted
        found = None
    if isinstance(found, dict):
        return found
    return analyse(Record.read(trace.record), trace.environment(), limits).to_json()


def _names(given: Sequence[Path]) -> list[str]:
    """As they were given, without what all have in front; a number where one comes twice."""
    whole = [path.resolve() for path in given]
    texts = [str(path) for path in given]
    if len(set(whole)) > 1:
        common = os.path.commonpath(whole)
        texts = [os.path.relpath(path, common) for path in whole]
    twice = {text for text, count in Counter(texts).items() if count > 1}
    return [
        f"{text} ({texts[: index + 1].count(text)})" if text in twice else text
        for index, text in enumerate(texts)
    ]
