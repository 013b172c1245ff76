"""What a record's sensors tell, as the mean power over stretches of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgecc.errors import UnstableError
from edgecc.hardware import Power
from edgecc.measure import energy
from edgecc.measure.energy import Mean
from edgecc.measure.power_log import DATED_UPDATE_S
from edgecc.measure.rails import TOTAL, Meter, meter
from edgecc.measure.series import Array, Series
from edgecc.measure.tegrastats import parse
from edgecc.measure.tegrastats_line import Line

FEWEST = 3
"""Samples in a stretch of time, at least."""
RAPL_TOLERANCE = 0.05
"""Estimate: published comparisons with a meter at the plug find a few percent."""
Event = dict[str, Any]
Stretches = Sequence[tuple[float, float]]
"""Beginnings and ends, seconds of the device's clock."""


class Source(Protocol):
    """One kind of sensor; kinds are never mixed in one number."""

    @property
    def name(self) -> str:
        """`ina3221`, `tegrastats` or `rapl`."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Rails, and `total` where there is one."""
        ...

    @property
    def refused(self) -> str | None:
        """Why there is no total."""
        ...

    def mean(self, stretches: Stretches) -> Mean:
        """Return the mean power over all `stretches`.

        Errors: `edgecc.errors.UnstableError` where too few samples lie in one.
        """
        ...


@dataclass(frozen=True)
class Sampled:
    """Rails, read again and again."""

    name: str
    series: Series
    meter: Meter

    @property
    def columns(self) -> tuple[str, ...]:
        """The rails, and `total`."""
        return self.meter.columns

    @property
    def refused(self) -> str | None:
        """Why there is no total."""
        return self.meter.refused

    def mean(self, stretches: Stretches) -> Mean:
        """See `Source.mean`. Readings that reach back before a stretch are left out."""
        weights = np.zeros(len(self.series.t_s))
        for start_s, end_s in stretches:
            weights += self._weights(start_s, end_s)
        return energy.mean(self.series, self.meter, weights)

    def _weights(self, start_s: float, end_s: float) -> Array:
        """How long each sample stands for in a stretch (samples,): half way to its neighbours."""
        t_s = self.series.t_s
        inside = np.flatnonzero((t_s >= start_s + self.series.update_s) & (t_s <= end_s))
        _check(self.name, len(inside), end_s - start_s)
        times = t_s[inside]
        bounds = np.concatenate([[start_s], (times[1:] + times[:-1]) / 2, [end_s]])
        weights = np.zeros(len(t_s))
        weights[inside] = np.diff(bounds)
        return weights


@dataclass(frozen=True)
class Counted:
    """Counters of energy (RAPL): packages, and their memory, which is not part of them."""

    name: str
    columns: tuple[str, ...]
    t_s: Array  # (samples,)
    energy_uj: Array  # (samples, columns), rising
    refused: str | None = None

    def mean(self, stretches: Stretches) -> Mean:
        """See `Source.mean`."""
        seconds, used, count = 0.0, np.zeros(len(self.columns)), 0
        for start_s, end_s in stretches:
            inside = np.flatnonzero((self.t_s >= start_s) & (self.t_s <= end_s))
            _check(self.name, len(inside), end_s - start_s)
            first, last = inside[0], inside[-1]
            counted = self.energy_uj[last] - self.energy_uj[first]
            used += counted / (self.t_s[last] - self.t_s[first]) * (end_s - start_s)
            seconds += end_s - start_s
            count += len(inside)
        power_mw = used / 1000 / seconds
        return Mean(power_mw, np.zeros(len(power_mw)), RAPL_TOLERANCE / np.sqrt(3), count)


def _check(name: str, samples: int, seconds: float) -> None:
    if samples < FEWEST:
        raise UnstableError(
            f"{samples} samples of power ({name}) in {seconds:.1f} s",
            hint="measure longer, or sample more often",
        )


def source(
    events: Sequence[Event], boards: Mapping[str, Power], target: str | None = None
) -> tuple[Source, list[str]]:
    """Return the sensors to go by, and notes: INA3221, else tegrastats, else RAPL.

    Of the first two, the first that has the board's total. Errors:
    `edgecc.errors.UnstableError` where a record has no power.
    """
    sensed = [event for event in events if event["event"] == "sensor"]
    identity: Event = next((e["identity"] for e in events if e["event"] == "identity"), {})
    known = target if target in boards else None
    lines, notes = _of_tegrastats(sensed, boards, known)
    found = [one for one in (_of_ina3221(sensed, boards, known, identity), lines) if one]
    complete = [one for one in found if one.meter.total]
    if found:
        return (complete or found)[0], notes
    if counted := _of_rapl(sensed, identity):
        return counted, [*notes, "RAPL counts the processor and its memory, not the machine"]
    raise UnstableError("the record has no power", hint="its notes say what hides it")


def _of_ina3221(
    sensed: Iterable[Event], boards: Mapping[str, Power], target: str | None, identity: Event
) -> Sampled | None:
    read = [(event["t_s"], event["rails"]) for event in sensed if event["source"] == "ina3221"]
    names = sorted(set.intersection(*(set(rails) for _, rails in read)) - {"NC"}) if read else []
    if not names:
        return None
    power = [[rails[name]["mv"] * rails[name]["ma"] / 1000 for name in names] for _, rails in read]
    chips = (identity.get("sensors") or {}).get("ina3221") or []
    at_once = any("iio" in str(chip.get("dir")) for chip in chips)  # JetPack 4
    return _sampled(
        "ina3221", [t_s for t_s, _ in read], names, power, at_once, meter(names, boards, target)
    )


def _of_tegrastats(
    sensed: Iterable[Event], boards: Mapping[str, Power], target: str | None
) -> tuple[Sampled | None, list[str]]:
    printed = [(e["t_s"], parse(e["line"])) for e in sensed if e["source"] == "tegrastats"]
    whole = [(t_s, line) for t_s, line in printed if isinstance(line, Line)]
    told = [(t_s, line) for t_s, line in whole if line.rails]
    if not told:
        return None, []
    names = max((list(line.rails) for _, line in told), key=len)
    told = [(t_s, line) for t_s, line in told if set(names) <= set(line.rails)]
    bad = len(printed) - len(told)
    notes = [f"{bad} of {len(printed)} lines of tegrastats are malformed: left out"] if bad else []
    power = [[line.rails[name].power_mw for name in names] for _, line in told]
    rails = meter(names, boards, target)
    at_once = not told[0][1].in_milliwatts
    return _sampled("tegrastats", [t_s for t_s, _ in told], names, power, at_once, rails), notes


def _sampled(
    name: str, t_s: list[float], names: list[str], power: Any, at_once: bool, rails: Meter
) -> Sampled:
    times = np.array(t_s, dtype=float)
    order = np.argsort(times, kind="stable")
    series = Series(
        rails=tuple(names),
        t_s=times[order],
        power_mw=np.array(power, dtype=float)[order],
        gpu_percent=np.full(len(times), np.nan),
        interval_s=float(np.median(np.diff(times))) if len(times) > 1 else 1.0,
        update_s=0.0 if at_once else DATED_UPDATE_S,
        clock="device",
    )
    return Sampled(name, series, rails)


def _of_rapl(sensed: Iterable[Event], identity: Event) -> Counted | None:
    read = [(event["t_s"], event["uj"]) for event in sensed if event["source"] == "rapl"]
    there = sorted(set.intersection(*(set(uj) for _, uj in read))) if len(read) > 1 else []
    names = [n for n in there if n.startswith("package") and n.partition("/")[2] in ("", "dram")]
    if not names:
        return None
    ranges = {
        domain.get("name"): domain.get("max_uj")
        for domain in (identity.get("sensors") or {}).get("rapl") or []
        if isinstance(domain, dict)
    }
    columns = []
    for name in names:
        counter = np.array([uj[name] for _, uj in read], dtype=float)
        back = np.diff(counter) < 0
        if back.any() and not ranges.get(name):
            raise UnstableError(f"RAPL's counter {name} went back, and its range is not known")
        turns = np.concatenate([[0], np.cumsum(back)])
        columns.append(counter + turns * float(ranges.get(name) or 0))
    energy_uj = np.column_stack([*columns, np.sum(columns, axis=0)])
    return Counted("rapl", (*names, TOTAL), np.array([t_s for t_s, _ in read]), energy_uj)
