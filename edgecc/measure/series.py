"""Power over time: samples of every rail, and how long each of them stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Jump:
    """Between the sample before `at` and it, the clock went on by `seconds`, which cannot be."""

    at: int
    seconds: float


@dataclass(frozen=True)
class Series:
    """Readings at their times."""

    rails: tuple[str, ...]
    t_s: Array  # (samples,)
    power_mw: Array  # (samples, rails)
    gpu_percent: Array  # (samples,), NaN where it is not told
    interval_s: float
    """The usual time from one sample to the next."""
    update_s: float
    """How often the sensor itself has something new; 0 is at once."""
    clock: str
    """Where times are from: `given`, `dates`, `assumed`, `device`."""
    jumps: tuple[Jump, ...] = ()
    numbers: tuple[int, ...] = ()
    """Lines of the file."""

    @property
    def bounds_s(self) -> Array:
        """Where each sample's time begins, and the last one's ends (samples + 1,).

        Half way to its neighbours, so that power times time is the trapezoids' integral.
        """
        middle = (self.t_s[1:] + self.t_s[:-1]) / 2
        return np.concatenate([self.t_s[:1], middle, self.t_s[-1:]])

    @property
    def seconds(self) -> Array:
        """How long each sample stands for (samples,)."""
        return np.diff(self.bounds_s)

    def lost(self, first: int, last: int) -> int:
        """Return how many samples are missing between two that are there."""
        gaps = np.diff(self.t_s[first : last + 1]) / self.interval_s
        return int(np.maximum(np.rint(gaps) - 1, 0).sum())
