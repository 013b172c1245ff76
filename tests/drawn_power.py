"""Logs of tegrastats as boards would print them, from loads that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

RAILS = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
STEP_MW = np.array([155.0, 155.0, 155.0, 155.0, 155.0, 40.0])
IDLE_MW = np.array([310.0, 620.0, 930.0, 0.0, 155.0, 2086.0])
SHARE = np.array([0.55, 0.0, 0.17, 0.0, 0.23, 0.05])
"""What each rail has of a load."""


@dataclass(frozen=True)
class Drawn:
    """What a board draws: loads as (start_s, seconds, watts above idle)."""

    loads: Sequence[tuple[float, float, float]]
    seconds: float
    interval_s: float = 1.0
    noise_mw: float = 40.0
    window_s: float = 0.3
    """The sensor's mean is over this long before it is read."""
    spikes: Sequence[float] = ()
    """Times of readings far too high."""
    share: np.ndarray = field(default_factory=lambda: SHARE)
    gpu_busy: bool = True
    drift_mw: Callable[[float], float] = lambda t_s: 0.0
    seed: int = 0

    def readings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times (n,), power in steps of the sensor (n, 6) and load of the GPU (n,)."""
        rng = np.random.default_rng(self.seed)
        t_s = np.arange(rng.uniform(0, self.interval_s), self.seconds, self.interval_s)
        above = np.zeros(len(t_s))
        busy = np.zeros(len(t_s))
        for start, seconds, watts in self.loads:
            within = np.minimum(t_s, start + seconds) - np.maximum(t_s - self.window_s, start)
            above += 1000 * watts * np.clip(within / self.window_s, 0, 1)
            busy += (t_s >= start) & (t_s < start + seconds)
        drift = np.array([self.drift_mw(t) for t in t_s])
        power = IDLE_MW + np.outer(above + drift, self.share)
        power = power + rng.normal(0, self.noise_mw, power.shape) * (IDLE_MW > 0)
        for spike in self.spikes:
            power[int(np.abs(t_s - spike).argmin())] *= 8
        gpu = np.where(busy > 0, rng.integers(90, 100, len(t_s)), rng.integers(0, 12, len(t_s)))
        quantised = np.maximum(np.round(power / STEP_MW), 0) * STEP_MW
        return t_s, quantised, gpu if self.gpu_busy else 0 * gpu

    def text(self, rails: Sequence[str] = RAILS, begin: datetime | None = None) -> str:
        """The log; with dates and units, as JetPack 5 prints it, if it has a beginning."""
        lines = []
        for t_s, power, gpu in zip(*self.readings(), strict=True):
            unit = "mW" if begin else ""
            date = f"{begin + timedelta(seconds=t_s):%m-%d-%Y %H:%M:%S} " if begin else ""
            told = " ".join(
                f"{name} {mw:.0f}{unit}/{mw:.0f}{unit}"
                for name, mw in zip(RAILS, power, strict=True)
                if name in rails
            )
            lines.append(
                f"{date}RAM 7650/15815MB (lfb 408x4MB) CPU [15%@1190,off] EMC_FREQ 0% "
                f"GR3D_FREQ {gpu}% GPU@39C PMIC@100C {told}\n"
            )
        return "".join(lines)
