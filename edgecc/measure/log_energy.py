"""What a saved log of tegrastats tells: its loads, with power, energy and what is uncertain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgecc.errors import UnstableError, UsageError
from edgecc.hardware import Power
from edgecc.measure import energy, phases, power_log
from edgecc.measure.energy import Mean, Window
from edgecc.measure.levels import BUSY
from edgecc.measure.rails import TOTAL, Meter, meter
from edgecc.measure.series import Array, Series

SHOWN = 20
"""Malformed lines that are told in full; all are counted."""
BESIDE = 2
"""Samples beside a load that are not taken for idle."""
LOOSE = 0.1
"""A load whose time is uncertain by more of it is short, or lost samples at an edge."""
TWO_LEVELS = 0.1
"""A load whose halves differ by more of its power may be two."""
Record = dict[str, Any]


def analyse(
    path: Path,
    boards: Mapping[str, Power],
    *,
    runs: int | None = None,
    target: str | None = None,
    interval_s: float | None = None,
) -> Record:
    """Return the loads in a log as plain data, see docs/power.md.

    `boards` are those whose sensors are known, by name; `runs` is how often each load ran the
    network. Errors: `edgecc.errors.UsageError` for what is no log, `UnstableError` for one without
    power, or with a number that was asked for and cannot be trusted.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    log = power_log.read(path)
    series = power_log.series(log, interval_s)
    if len(series.t_s) < 2:
        raise UnstableError(
            f"{path}: 1 sample of power, which takes no time", hint="record a minute and more"
        )
    rails = meter(log.rails, boards, target)
    found = phases.find(series, rails)
    for first, last in found.loads:
        _refuse_jumps(path, series, first, last)
    if runs is not None and not found.loads:
        raise UnstableError(
            f"{path}: no load stands out from idle, so there is no time or energy of a run",
            hint="record some seconds of idle before and after it, one sample a second",
        )
    idle = _idle(series, rails, found.loads)
    measured = [_phase(series, rails, idle, first, last, runs) for first, last in found.loads]
    whole = energy.of_samples(series, rails, 0, len(series.t_s) - 1)
    return {
        "schema_version": 1,
        "file": str(path),
        "board": rails.board,
        "boards": list(rails.boards),
        "total_rails": list(rails.total),
        "total_refused": rails.refused,
        "samples": len(series.t_s),
        "interval_s": round(series.interval_s, 4),
        "interval_from": series.clock,
        "found_by": found.signal,
        "runs": runs,
        "idle": _level(rails, idle) if idle else None,
        "phases": measured,
        "whole": _window(rails, whole),
        "malformed_count": len(log.malformed),
        "malformed": [
            {"line": number, "text": line.text[:200], "reason": line.reason}
            for number, line in log.malformed[:SHOWN]
        ],
        "notes": _notes(series, rails, found, measured),
    }


def _refuse_jumps(path: Path, series: Series, first: int, last: int) -> None:
    for jump in series.jumps:
        if first < jump.at <= last:
            before, after = series.numbers[jump.at - 1], series.numbers[jump.at]
            raise UnstableError(
                f"{path}: the clock goes on by {jump.seconds:+g} s between lines {before} and "
                f"{after}, in the middle of a load: it was set, or lines are missing",
                hint="record it again; or, if no line is missing, "
                f"--interval {series.interval_s:g} counts lines instead",
            )


def _idle(series: Series, rails: Meter, loads: tuple[tuple[int, int], ...]) -> Mean | None:
    """The mean of what lies beside no load; None where that is nothing."""
    weights = series.seconds.copy()
    for first, last in loads:
        weights[max(first - BESIDE, 0) : last + 1 + BESIDE] = 0
    return energy.mean(series, rails, weights) if loads and weights.any() else None


def _phase(
    series: Series, rails: Meter, idle: Mean | None, first: int, last: int, runs: int | None
) -> Record:
    """A load as plain data; what takes its whole duration is None where the log cuts it off."""
    told = energy.of_samples(series, rails, first, last, idle)
    whole = first > 0 and last < len(series.t_s) - 1
    phase = _window(rails, told)
    phase["samples"] = told.samples
    phase["lost_samples"] = series.lost(first, last)
    phase["complete"] = whole
    busy = series.gpu_percent[first : last + 1]
    phase["gpu_percent"] = None if np.isnan(busy).any() else round(float(busy.mean()), 1)
    phase["two_levels"] = _two_levels(rails.with_total(series.power_mw[first : last + 1]))
    if told.marginal_mj is not None and told.marginal_uncertainty_mj is not None:
        phase["marginal_energy_mj"] = _by_rail(rails, told.marginal_mj)
        phase["marginal_energy_uncertainty_mj"] = _by_rail(rails, told.marginal_uncertainty_mj)
    if runs is not None:
        phase |= _per_run(phase, told, runs if whole else None)
    return phase


def _per_run(phase: Record, told: Window, runs: int | None) -> Record:
    """Time and energy of one run; None where they are not known."""

    def share(value: float | None) -> float | None:
        return None if value is None or runs is None else round(value / runs, 6)

    by_rail = {
        f"{kind}_per_run_by_rail": {name: share(mj) for name, mj in phase[kind].items()}
        for kind in ("energy_mj", "energy_uncertainty_mj")
    }
    return {
        "runs": runs,
        "ms_per_run": share(1000 * told.duration_s),
        "ms_per_run_uncertainty": share(1000 * told.duration_uncertainty_s),
        "energy_mj_per_run": share(phase["energy_mj"][TOTAL]),
        "energy_mj_per_run_uncertainty": share(phase["energy_uncertainty_mj"][TOTAL]),
        **by_rail,
    }


def _window(rails: Meter, told: Window) -> Record:
    return {
        "start_s": round(told.start_s, 3),
        "duration_s": round(told.duration_s, 3),
        "duration_uncertainty_s": round(told.duration_uncertainty_s, 3),
        "power_mw": _by_rail(rails, told.power_mw),
        "power_uncertainty_mw": _by_rail(rails, told.power_uncertainty_mw),
        "energy_mj": _by_rail(rails, told.energy_mj),
        "energy_uncertainty_mj": _by_rail(rails, told.energy_uncertainty_mj),
    }


def _level(rails: Meter, idle: Mean) -> Record:
    return {
        "samples": idle.samples,
        "power_mw": _by_rail(rails, idle.power_mw),
        "power_uncertainty_mw": _by_rail(rails, energy.SURE * np.sqrt(idle.variance_mw2)),
    }


def _by_rail(rails: Meter, values: Array) -> dict[str, float | None]:
    """Values of every column by its name; the total is None where it is refused."""
    told = dict(zip(rails.columns, (round(float(value), 3) for value in values), strict=True))
    return {**told, TOTAL: told.get(TOTAL)}


def _two_levels(power_mw: Array) -> bool:
    """Whether a load's halves (samples, columns) differ, as of two networks without a pause."""
    inner = power_mw[1:-1, -1]
    half = len(inner) // 2
    if half < 4:
        return False
    before, after = np.median(inner[:half]), np.median(inner[half:])
    return bool(abs(before - after) > TWO_LEVELS * max(before, after))


def _notes(series: Series, rails: Meter, found: phases.Phases, measured: list[Record]) -> list[str]:
    notes = [*_notes_on_time(series), *_notes_on_rails(series, rails)]
    if not found.loads:
        notes.append("no load stands out from idle")
    if found.bursts:
        notes.append(f"{found.bursts} samples above idle are no load: too short, or too little")
    for number, phase in enumerate(measured, start=1):
        if not phase["complete"]:
            notes.append(f"phase {number} goes beyond the log: its time is not the whole of it")
        if (busy := phase["gpu_percent"]) is not None and busy < BUSY:
            notes.append(f"phase {number}: the GPU is busy {busy:.0f} % of it: the CPU's load?")
        if phase["two_levels"]:
            notes.append(f"phase {number} has two levels: two loads without idle between them?")
        if phase["duration_uncertainty_s"] > LOOSE * phase["duration_s"]:
            notes.append(
                f"phase {number}: {phase['duration_s']:.1f} s is known to "
                f"{phase['duration_uncertainty_s']:.1f} s: run it longer, or sample more often"
            )
        if lost := phase["lost_samples"]:
            notes.append(f"phase {number}: {lost} samples are lost, told by those beside them")
    return notes


def _notes_on_time(series: Series) -> list[str]:
    notes = []
    if series.clock == "assumed":
        notes.append("no dates in this log: samples are taken as 1 s apart (--interval)")
    for jump in series.jumps:
        lines = f"{series.numbers[jump.at - 1]} and {series.numbers[jump.at]}"
        notes.append(
            f"the clock goes on by {jump.seconds:+g} s between lines {lines}: it was set, or lines "
            "are missing; times after it are counted as if it had not"
        )
    return notes


def _notes_on_rails(series: Series, rails: Meter) -> list[str]:
    notes = []
    if rails.refused:
        hint = "" if len(rails.boards) == 1 else " (--target names the board)"
        notes.append(f"no total: {rails.refused}{hint}")
    elif len(rails.boards) > 1:
        others = ", ".join(rails.boards)
        notes.append(f"these rails are found on {others}, which share the total (--target)")
    if wrong := rails.exceeded(series.power_mw):
        notes.append(
            f"in {wrong} of {len(series.t_s)} samples the other rails are more than "
            f"{rails.total[0]}, which should have them all: one of them is not what its name says, "
            "and neither is the total to be trusted"
        )
    return notes
