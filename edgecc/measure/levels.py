"""Idle and load as two levels of a rail, and the rail that tells them apart best.

Of the rails whose step is at least a quarter of the largest: the GPU's, then the total, then any,
as soon as two levels lie clearly apart. Otsu's threshold splits the samples; it is asked again of
the lower level, for loads much smaller than the largest. Where the GPU was busy in load and not in
idle, it has to be so again; else the step has to be an eighth of the first one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecc.measure.rails import TOTAL, Meter
from edgecc.measure.series import Array, Series

FEWEST = 3
"""A level has at least this many samples."""
APART, GAP = 3.6, 4.0
"""Levels are two if they lie so many standard deviations apart, where Otsu finds 2.65 in any noise;
or the lowest of the load so many of idle's above it, where he finds 1.4."""
CLEARLY_APART = 5.0
STEPS = 3.0
"""A load is at least this many steps of the sensor above idle."""
RELATIVE = 0.04
"""And this fraction of idle."""
A_QUARTER = 0.25
SMALL = 0.12
"""The least that a load is of the largest, where the GPU is no witness."""
FEW = 0.05
"""Samples of the load that may lie lower than its lowest level, as those at edges do."""
BUSY = 30.0
"""Percent of GPU load between idle and load that make it a witness."""


@dataclass(frozen=True)
class Split:
    """Two levels of a signal."""

    idle_mw: float
    noise_mw: float
    """Of idle, a standard deviation."""
    highest_idle_mw: float
    lowest_load_mw: float
    step_mw: float
    apart: float
    """The step in standard deviations within the levels."""

    @property
    def threshold_mw(self) -> float:
        """Half way from idle to the lowest of the load, and not within idle."""
        return max((self.idle_mw + self.lowest_load_mw) / 2, self.highest_idle_mw)


def choose(series: Series, meter: Meter, columns: Array) -> tuple[int, Split] | None:
    """Return the column that separates load from idle, and its levels; None where none does."""
    splits = {
        at: split
        for at in range(columns.shape[1])
        if (split := _levels(_smooth(columns[:, at]), meter.steps_mw[at]))
    }
    if not splits:
        return None
    largest = max(split.step_mw for split in splits.values())
    large = {at: split for at, split in splits.items() if split.step_mw >= A_QUARTER * largest}
    wanted = sorted(large, key=lambda at: (_rank(meter.columns[at]), -large[at].apart))
    clear = [at for at in wanted if large[at].apart >= CLEARLY_APART]
    at = clear[0] if clear else max(large, key=lambda at: large[at].apart)
    smallest = _smallest(columns[:, at], large[at], series.gpu_percent, meter.steps_mw[at])
    return at, smallest


def _rank(column: str) -> int:
    return 0 if "GPU" in column.upper() else 1 if column == TOTAL else 2


def _levels(values: Array, step_mw: float) -> Split | None:
    """The highest split that counts: above it are spikes, or the larger of several loads."""
    while split := _otsu(values):
        if _counts(split, step_mw):
            return split
        values = values[values <= split.threshold_mw]
    return None


def _counts(split: Split, step_mw: float) -> bool:
    least = max(STEPS * step_mw, RELATIVE * abs(split.idle_mw))
    lowest_mw = split.lowest_load_mw - split.idle_mw
    return split.step_mw >= least and (
        split.apart >= APART or (lowest_mw >= least and lowest_mw >= GAP * split.noise_mw)
    )


def _smooth(signal: Array) -> Array:
    """The running median of three, which a spike of one sample leaves no trace in."""
    if len(signal) < 3:
        return signal
    middle = np.median([signal[:-2], signal[1:-1], signal[2:]], axis=0)
    return np.concatenate([signal[:1], middle, signal[-1:]])


def _otsu(values: Array) -> Split | None:
    """Split values into the two levels with the least variance within them."""
    ordered = np.sort(values)
    count = len(ordered)
    if count < 2 * FEWEST or ordered[0] == ordered[-1]:
        return None
    low = np.arange(1, count)  # how many lie below
    sums, squares = np.cumsum(ordered)[:-1], np.cumsum(ordered**2)
    mean_low, mean_high = sums / low, (ordered.sum() - sums) / (count - low)
    between = low * (count - low) * (mean_high - mean_low) ** 2.0
    few = (low < FEWEST) | (count - low < FEWEST)
    between[few | (ordered[1:] == ordered[:-1])] = -1
    best = int(between.argmax())
    if between[best] < 0:
        return None
    step = float(mean_high[best] - mean_low[best])
    within = (
        squares[-1] - low[best] * mean_low[best] ** 2 - (count - low[best]) * (mean_high[best] ** 2)
    )
    deviation = float(np.sqrt(max(within, 0.0) / count))
    below, above = ordered[: best + 1], ordered[best + 1 :]
    idle = float(mean_low[best])
    return Split(
        idle,
        float(below.std()),
        float(below[-1]),
        float(np.quantile(above, FEW)),
        step,
        step / deviation if deviation > 0 else np.inf,
    )


def _smallest(signal: Array, split: Split, gpu: Array, step_mw: float) -> Split:
    """Ask again of the lower level, until it is idle alone."""
    smooth = _smooth(signal)
    witnessed = _busy(gpu, smooth > split.threshold_mw, smooth <= split.threshold_mw)
    first = split
    while True:
        below = smooth <= split.threshold_mw
        lower = _levels(smooth[below], step_mw)
        if lower is None:
            return split
        above = below & (smooth > lower.threshold_mw)
        if not _lasts(above):  # edges of larger loads
            return split
        small = lower.step_mw < SMALL * first.step_mw or lower.apart < CLEARLY_APART
        if not (_busy(gpu, above, below & ~above) if witnessed else not small):
            return split
        split = lower


def _lasts(state: npt.NDArray[np.bool_]) -> bool:
    """Whether it is true for long enough anywhere."""
    return bool((np.convolve(state, np.ones(FEWEST), "valid") == FEWEST).any())


def _busy(gpu: Array, load: npt.NDArray[np.bool_], idle: npt.NDArray[np.bool_]) -> bool:
    """Whether the GPU was busy in load and not in idle; False where its load is not told."""
    return bool(load.any() and idle.any() and gpu[load].mean() - gpu[idle].mean() >= BUSY)
