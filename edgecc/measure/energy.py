"""Mean power, energy and what is not known about them.

Of a window of time D, with P the mean power of a rail in it and I what it draws idle:

    u_P^2 = step^2 / 12 + (tolerance P)^2 / 3 + s^2 / n + ((P - I) u_D / D)^2
    u_E^2 = D^2 (u_P^2 less its last term) + (P u_D)^2
    u_D^2 = (a^2 + b^2 + 2 update^2 + lost^2) / 12 + (clock D)^2 / 3

`step` is the smallest difference the sensor tells; a constant load always falls on the same side of
it, so more samples do not help. `tolerance` is its gain error. s / sqrt(n) is the scatter of n
samples; what a sensor repeats between its updates is one sample. a and b are the times between the
samples on both sides of each edge: it lies somewhere between, evenly likely; a sensor that averages
tells up to `update` later. `lost` is the time of samples that are missing, `clock` the interval's
own error where nothing tells the time.
Everything uncertain is told as 2 u, about 95 % sure. For a total, steps add up as independent,
gains as common to all rails.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecc.measure.rails import Meter
from edgecc.measure.series import Array, Series

SURE = 2.0
"""How many standard uncertainties are told: about 95 %."""
CLOCK_ERROR = {"assumed": 0.01, "given": 0.01}
"""A nominal interval's error, a fraction; estimate: tegrastats sleeps between its lines."""


@dataclass(frozen=True)
class Mean:
    """Mean power of every column of a meter over some samples, mW, and its variances."""

    power_mw: Array
    common_mw2: Array
    """Of the step and the scatter."""
    gain: float
    """The standard deviation of the gain, a fraction."""
    samples: int

    @property
    def variance_mw2(self) -> Array:
        """What the sensor and the scatter leave open."""
        variance: Array = self.common_mw2 + (self.gain * self.power_mw) ** 2
        return variance


@dataclass(frozen=True)
class Window:
    """A stretch of time and what it took. Arrays are over the columns of the meter."""

    start_s: float
    duration_s: float
    duration_uncertainty_s: float
    samples: int
    power_mw: Array
    power_uncertainty_mw: Array
    energy_mj: Array
    energy_uncertainty_mj: Array
    marginal_mj: Array | None
    """What idling as long would not have taken; None without an idle baseline."""
    marginal_uncertainty_mj: Array | None


def mean(series: Series, meter: Meter, weights_s: Array) -> Mean:
    """Return the mean power of the samples, each weighing as long as it stands for (samples,)."""
    used = weights_s > 0
    weights = weights_s[used] / weights_s[used].sum()
    values = meter.with_total(series.power_mw[used])  # (samples, columns)
    power = weights @ values
    count = int(used.sum())
    independent = count
    if series.update_s > 0:
        independent = max(1, min(count, round(float(weights_s.sum()) / series.update_s)))
    scatter = values.var(axis=0, ddof=1) / independent if count > 1 else np.zeros(len(power))
    common = meter.steps_mw**2 / 12 + scatter
    return Mean(power, common, meter.tolerance / np.sqrt(3), count)


def window(
    level: Mean,
    start_s: float,
    duration_s: float,
    *,
    inner: Mean | None = None,
    idle: Mean | None = None,
    edges_s: tuple[float, float] = (0.0, 0.0),
    update_s: float = 0.0,
    lost_s: float = 0.0,
    clock: float = 0.0,
) -> Window:
    """Return what a stretch of time took, at the mean power `level`.

    `edges_s` is the time between the samples around each edge, 0 where the edge is known; `inner`
    is the mean without the samples at the edges, whose scatter is that of the load; `clock` is the
    error of times, a fraction.
    """
    lag = sum(update_s**2 for edge in edges_s if edge)
    spread2 = sum(edge**2 for edge in edges_s) + lag + lost_s**2
    time2 = spread2 / 12 + (clock * duration_s) ** 2 / 3
    common = (inner or level).common_mw2
    sensor2 = common + (level.gain * level.power_mw) ** 2
    above = level.power_mw - (idle.power_mw if idle else 0.0)
    energy2 = duration_s**2 * sensor2 + level.power_mw**2 * time2
    marginal = marginal2 = None
    if idle is not None:
        marginal = above * duration_s
        both = common + idle.common_mw2 + (level.gain * above) ** 2
        marginal2 = SURE * np.sqrt(duration_s**2 * both + above**2 * time2)
    return Window(
        start_s,
        duration_s,
        SURE * float(np.sqrt(time2)),
        level.samples,
        level.power_mw,
        SURE * np.sqrt(sensor2 + above**2 * time2 / duration_s**2),
        level.power_mw * duration_s,
        SURE * np.sqrt(energy2),
        marginal,
        marginal2,
    )


def of_samples(
    series: Series, meter: Meter, first: int, last: int, idle: Mean | None = None
) -> Window:
    """Return what the samples from `first` to `last` took: each one's time times its power."""
    bounds = series.bounds_s
    weights = np.zeros(len(series.t_s))
    weights[first : last + 1] = series.seconds[first : last + 1]
    inside = np.zeros(len(series.t_s))
    inside[first + 1 : last] = series.seconds[first + 1 : last]
    gaps = np.diff(series.t_s)
    edges = (
        float(gaps[first - 1]) if first > 0 else 0.0,
        float(gaps[last]) if last < len(gaps) else 0.0,
    )
    return window(
        mean(series, meter, weights),
        float(bounds[first] - series.t_s[0]),
        float(weights.sum()),
        inner=mean(series, meter, inside) if last - first > 2 else None,
        idle=idle,
        edges_s=edges,
        update_s=series.update_s,
        lost_s=series.lost(first, last) * series.interval_s,
        clock=CLOCK_ERROR.get(series.clock, 0.0),
    )
