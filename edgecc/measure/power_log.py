"""A saved log of tegrastats: its lines, those that are damaged, and when each was printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from edgecc.errors import UnstableError, UsageError
from edgecc.measure.series import Jump, Series
from edgecc.measure.tegrastats import parse
from edgecc.measure.tegrastats_line import Line, Malformed

LONGEST = 1 << 16
"""Bytes in a line, at most: more is no text."""
INTERVAL_S = 1.0
"""tegrastats' own, unless --interval says otherwise."""
DATED_UPDATE_S = 0.43
"""From JetPack 5 on, which prints dates, the sensors average 512 samples and update this often."""
UNHIDE = "sudo chmod a+r /sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/{in,curr}*_input"
"""What lets everybody read power on JetPack 5 and later, until the board restarts."""


@dataclass(frozen=True)
class Sample:
    """A line that was read: its number in the file, and the how-maniest sample it is."""

    number: int
    slot: int
    line: Line


@dataclass(frozen=True)
class PowerLog:
    """What a file holds. Lost samples have slots too: time went on while they were printed."""

    samples: tuple[Sample, ...]
    malformed: tuple[tuple[int, Malformed], ...]
    """With their numbers in the file, from 1."""
    rails: tuple[str, ...]


def read(path: Path) -> PowerLog:
    """Read a log.

    Errors: `edgecc.errors.UsageError` where it is none, `UnstableError` where it tells no power.
    """
    samples: list[Sample] = []
    malformed: list[tuple[int, Malformed]] = []
    slot = number = 0
    with path.open("rb") as file:
        while line := file.readline(LONGEST + 1):
            number += 1
            if b"\0" in line or len(line) > LONGEST:
                raise UsageError(f"{path} is no text", hint="it takes what tegrastats prints")
            text = line.decode(errors="replace")
            if not text.strip():
                continue
            found = parse(text)
            if isinstance(found, Malformed):
                malformed.append((number, found))
                slot += found.torn
            else:
                samples.append(Sample(number, slot, found))
                slot += 1
    if not samples:
        raise _nothing(path, malformed)
    return _with_rails(path, samples, malformed)


def _nothing(path: Path, malformed: list[tuple[int, Malformed]]) -> UsageError:
    if not malformed:
        hint = "record with: tegrastats --interval 1000 --logfile power.log"
        return UsageError(f"{path} is empty", hint=hint)
    number, first = malformed[0]
    return UsageError(
        f"{path}: none of its {len(malformed)} lines is one of tegrastats",
        hint=f"line {number}, '{first.text[:60]}': {first.reason}",
    )


def _with_rails(
    path: Path, samples: list[Sample], malformed: list[tuple[int, Malformed]]
) -> PowerLog:
    """Take as the log's rails those that most lines have; a line that lacks one is damaged."""
    sets = Counter(tuple(sample.line.rails) for sample in samples if sample.line.rails)
    if not sets:
        raise UnstableError(
            f"{path}: no power in its {len(samples)} lines: the board hides it from users who are "
            "not root, or has no sensors",
            hint=f"on the board, once after each start: {UNHIDE}",
        )
    rails = sets.most_common(1)[0][0]
    whole = [sample for sample in samples if set(rails) <= set(sample.line.rails)]
    damaged = [*malformed, *_incomplete(path, samples, rails)]
    return PowerLog(tuple(whole), tuple(sorted(damaged, key=lambda one: one[0])), rails)


def _incomplete(
    path: Path, samples: list[Sample], rails: tuple[str, ...]
) -> Iterator[tuple[int, Malformed]]:
    """Yield the lines that lack a rail, with their text."""
    lacking = {
        sample.number: [name for name in rails if name not in sample.line.rails]
        for sample in samples
        if not set(rails) <= set(sample.line.rails)
    }
    with path.open(errors="replace") as file:
        for number, text in enumerate(file, start=1):
            if number in lacking:
                reason = f"it lacks {', '.join(lacking[number])}, which the other lines have"
                yield number, Malformed(text.rstrip(), reason, torn=True)


def series(log: PowerLog, interval_s: float | None = None) -> Series:
    """Return the samples over time: at `interval_s`, or as dates tell, or else at 1 s."""
    slots = np.array([sample.slot for sample in log.samples])
    dates = [sample.line.time for sample in log.samples]
    numbers = tuple(sample.number for sample in log.samples)
    jumps: tuple[Jump, ...] = ()
    told, clock = interval_s, "given"
    if told is None:
        told, clock = INTERVAL_S, "assumed"
        if len(dates) > 1 and all(dates):
            told, jumps = _by_dates([date for date in dates if date], slots)
            clock = "dates"
    lines = [sample.line for sample in log.samples]
    loads = [line.gr3d.percent if line.gr3d else None for line in lines]
    power = [[line.rails[name].power_mw for name in log.rails] for line in lines]
    return Series(
        rails=log.rails,
        t_s=slots * told,
        power_mw=np.array(power, dtype=float),
        gpu_percent=np.array([np.nan if load is None else load for load in loads]),
        interval_s=told,
        update_s=DATED_UPDATE_S if lines[0].in_milliwatts else 0.0,
        clock=clock,
        jumps=jumps,
        numbers=numbers,
    )


def _by_dates(dates: list[datetime], slots: np.ndarray) -> tuple[float, tuple[Jump, ...]]:
    """The interval that dates of whole seconds tell, and where the clock jumps.

    Between two dates lie as many intervals as slots, give or take the second they are told to.
    """
    gaps = np.diff([(date - dates[0]).total_seconds() for date in dates])
    steps = np.diff(slots)
    usual = np.median(gaps / steps)
    even = (gaps >= 0) & (gaps <= 3 * usual * steps + 2)
    told = gaps[even].sum() / max(steps[even].sum(), 1)
    if told <= 0 or abs(told - INTERVAL_S) <= 1 / max(steps[even].sum(), 1):
        told = INTERVAL_S  # what the dates tell is no finer
    late = gaps - steps * told
    wrong = (gaps < 0) | (late > max(2.0, 2 * told))
    at = np.flatnonzero(wrong)
    return float(told), tuple(Jump(int(i) + 1, float(gaps[i])) for i in at)
