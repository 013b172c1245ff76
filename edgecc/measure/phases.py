"""Where a log is in load: found by itself, from power alone; the GPU's load is a second witness.

1. `levels.py` chooses the rail that tells load from idle best, and a threshold between them.
2. The likeliest sequence of idle and load (Viterbi), where every change costs more than half of the
   shortest load: bursts and dips that are shorter do not count.
3. Edges lie half way between the load's own level and the idle around it.
4. A load lies clearly above the idle beside it, and begins or ends at once: what rises slowly is a
   drift, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from edgecc.measure.levels import BUSY, FEWEST, Split, choose
from edgecc.measure.rails import Meter
from edgecc.measure.series import Array, Series

SHORTEST_S = 1.0
"""A load lasts at least this long."""
RESTLESS = 0.4
"""What a board in idle may draw more than usual, of its idle: AGX Xavier goes from 3.0 to 4.1 W."""
OUT = 3.0
"""It lies so many standard deviations above the idle beside it."""
AROUND = 5
"""Samples beside a load that tell the idle around it."""
SCATTERED = 0.15
"""Samples above the threshold outside of loads, of all that are idle: with more it is noise."""


@dataclass(frozen=True)
class Phases:
    """Loads as (first sample, last sample), and how they were found."""

    loads: tuple[tuple[int, int], ...]
    signal: str | None
    """The column that they were found on; None is nothing to be found."""
    bursts: int
    """Samples above the threshold that are no load: too short, or too little."""


def find(series: Series, meter: Meter) -> Phases:
    """Return the loads of a series, in order."""
    columns = meter.with_total(series.power_mw)
    chosen = choose(series, meter, columns)
    if chosen is None:
        return _all_or_nothing(series)
    at, split = chosen
    signal = columns[:, at]
    shortest = max(FEWEST, ceil(SHORTEST_S / series.interval_s))
    state = _sequence(signal, split, meter.steps_mw[at], (shortest - 0.5) / 2)
    rough = [run for run in _runs(state) if run[1] - run[0] + 1 >= FEWEST]
    edged = (_edges(signal, first, last, state, split) for first, last in rough)
    out = (run for run in edged if _stands_out(signal, *run, state, split))
    loads = tuple(run for run in out if _witnessed(series.gpu_percent, columns[:, -1], state, *run))
    inside = np.zeros(len(signal), dtype=bool)
    for first, last in loads:
        inside[max(first - 1, 0) : last + 2] = True
    if not loads:
        return _all_or_nothing(series)
    bursts = int((~inside & (signal > split.threshold_mw)).sum())
    if bursts > SCATTERED * (~inside).sum():
        return _all_or_nothing(series)
    return Phases(loads, meter.columns[at], bursts)


def _sequence(signal: Array, split: Split, step_mw: float, change: float) -> npt.NDArray[np.bool_]:
    """The likeliest sequence of idle (False) and load (True), a change costing `change` samples.

    A sample tells one from the other for certain where it is as far from the threshold as idle is,
    or further than noise and steps go.
    """
    clear_mw = max(3 * split.noise_mw, 2 * step_mw)
    clear_mw = min(split.threshold_mw - split.idle_mw, clear_mw)
    evidence = np.clip((signal - split.threshold_mw) / clear_mw, -1, 1)
    idle = load = 0.0
    came_from = np.zeros((len(signal), 2), dtype=bool)
    for at, told in enumerate(evidence):
        came_from[at] = load + change < idle, load <= idle + change
        idle, load = (
            min(idle, load + change) + max(told, 0),
            min(load, idle + change) + max(-told, 0),
        )
    state = np.zeros(len(signal), dtype=bool)
    now = bool(load < idle)
    for at in range(len(signal) - 1, -1, -1):
        state[at] = now
        now = bool(came_from[at, int(now)])
    return state


def _runs(state: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of load as (first, last)."""
    padded = np.concatenate([[False], state, [False]]).astype(int)
    changes = np.diff(padded)
    yield from zip(
        map(int, np.flatnonzero(changes == 1)),
        map(int, np.flatnonzero(changes == -1) - 1),
        strict=True,
    )


def _beside(signal: Array, first: int, last: int, state: npt.NDArray[np.bool_]) -> Array:
    """What is idle beside a load; its edges are left out."""
    before = [at for at in range(max(first - 1 - AROUND, 0), first - 1) if not state[at]]
    after = [at for at in range(last + 2, min(last + 2 + AROUND, len(signal))) if not state[at]]
    return signal[[*before, *after]]


def _edges(
    signal: Array, first: int, last: int, state: npt.NDArray[np.bool_], split: Split
) -> tuple[int, int]:
    """Move the edges to half way between the load's own level and the idle around it."""
    beside = _beside(signal, first, last, state)
    idle = float(np.median(beside)) if len(beside) else split.idle_mw
    half = (float(np.median(signal[first : last + 1])) + idle) / 2
    while first < last and signal[first] < half:
        first += 1
    while last > first and signal[last] < half:
        last -= 1
    while first > 0 and signal[first - 1] >= half:
        first -= 1
    while last < len(signal) - 1 and signal[last + 1] >= half:
        last += 1
    return first, last


def _stands_out(
    signal: Array, first: int, last: int, state: npt.NDArray[np.bool_], split: Split
) -> bool:
    """Whether a load lies clearly above the idle beside it, and begins or ends at once."""
    beside, load = _beside(signal, first, last, state), signal[first : last + 1]
    idle = float(np.median(beside)) if len(beside) else split.idle_mw
    height = float(np.median(load)) - idle
    if height < OUT * np.sqrt((_spread(load) ** 2 + _spread(beside) ** 2) / 2):
        return False
    rises = []
    if first > 0:
        rises.append(np.median(load[:3]) - np.median(signal[max(first - 3, 0) : first]))
    if last < len(signal) - 1:
        rises.append(np.median(load[-3:]) - np.median(signal[last + 1 : last + 4]))
    return bool(rises) and bool(max(rises) >= height / 2)


def _witnessed(
    gpu: Array, whole: Array, state: npt.NDArray[np.bool_], first: int, last: int
) -> bool:
    """Whether the GPU was busy in a load, or its load is not told.

    If it was not, the board has to draw clearly more than a restless one in idle does: `whole` is
    the total, or the last rail where there is none.
    """
    busy = gpu[first : last + 1]
    if not busy.mean() < BUSY:  # or not told
        return True
    idle = float(np.median(whole[~state]))
    return float(np.median(whole[first : last + 1])) - idle >= RESTLESS * idle


def _spread(values: Array) -> float:
    """The standard deviation of noise, by its neighbours: outliers and levels leave it as it is."""
    if len(values) < 2:
        return 0.0
    return float(1.4826 / np.sqrt(2) * np.median(np.abs(np.diff(values))))


def _all_or_nothing(series: Series) -> Phases:
    """With one level alone: all is load if the GPU is busy throughout, or else none."""
    busy = series.gpu_percent >= BUSY  # False where it is not told
    if busy.mean() > 0.95 and len(busy) >= FEWEST:
        return Phases(((0, len(series.t_s) - 1),), "GR3D_FREQ", 0)
    return Phases((), None, 0)
