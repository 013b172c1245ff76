"""Times of runs as numbers: percentiles, spread, drift, and how sure a ratio of two is.

Runs of one pass are alike and not independent of one another; passes differ by more (where the
process landed in memory, what else the machine does), and two bundles measured in one round share
the round's state. So the round is the unit: a ratio is taken inside each round, and its interval
comes from how rounds differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Numbers = npt.NDArray[np.float64]
Rounds = Mapping[int, Sequence[float]]
"""Times in milliseconds, by round, in the order of the runs."""
CONFIDENCE = 0.99
"""How often the interval holds the true ratio: a difference is called wrongly once in a hundred."""
RESOLUTION = 0.001
"""Differences that no number of rounds makes sure: where code and data lie differs between two
bundles in every round alike (Mytkowicz et al., "Producing wrong data without doing anything
obviously wrong!", ASPLOS 2009)."""
RESAMPLES = 1000
KEPT_OF_A_ROUND = 1000
"""Of longer rounds every n-th run is resampled: the interval is then a little too wide."""
PERCENTILES = (50, 90, 95, 99)
CENTRAL_SIGMAS = 2.5631
"""From the 10th to the 90th percentile of a normal distribution."""


@dataclass(frozen=True)
class Latency:
    """What one bundle takes, all rounds together."""

    samples: int
    rounds: int
    median_ms: float
    mean_ms: float
    min_ms: float
    max_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    cov: float
    """Standard deviation over mean, outliers and all."""
    spread: float
    """The same from the 10th to the 90th percentile, which a few outliers do not move: the median
    over the rounds, so that drift between them is left to `drift`."""
    drift: float
    """The largest round's median over the smallest, minus 1."""
    trend: float
    """The second half of a round over its first, by median, minus 1: the median of the rounds."""
    autocorrelation: float
    """Of a run with the next, the median of the rounds; near 1 says few runs are independent."""
    throughput_per_s: float
    """One run after another, by the mean."""
    round_medians_ms: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "round_medians_ms": list(self.round_medians_ms)}


@dataclass(frozen=True)
class Interval:
    """A ratio of medians, B over A, and between which it lies."""

    value: float
    low: float
    high: float
    rounds: int
    confidence: float = CONFIDENCE

    @property
    def differs(self) -> bool:
        """Whether 1 lies outside: the two are not alike."""
        return self.low > 1 or self.high < 1

    @property
    def verdict(self) -> str:
        """faster, slower, or same: a difference below the noise is none."""
        if not self.differs:
            return "same"
        return "faster" if self.high < 1 else "slower"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "verdict": self.verdict}


def latency(rounds: Rounds) -> Latency:
    """Describe the times of a bundle. Errors: `ValueError` where there are none."""
    arrays = [np.asarray(times, np.float64) for times in rounds.values() if len(times)]
    if not arrays:
        raise ValueError("there are no times")
    every = np.concatenate(arrays)
    median, p90, p95, p99 = map(float, np.percentile(every, PERCENTILES))
    medians = [float(np.median(times)) for times in arrays]
    mean = float(every.mean())
    return Latency(
        samples=every.size,
        rounds=len(arrays),
        median_ms=median,
        mean_ms=mean,
        min_ms=float(every.min()),
        max_ms=float(every.max()),
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        cov=float(every.std(ddof=1) / mean) if every.size > 1 else 0.0,
        spread=float(np.median([_spread(times) for times in arrays])),
        drift=max(medians) / min(medians) - 1,
        trend=float(np.median([_trend(times) for times in arrays])),
        autocorrelation=float(np.median([_autocorrelation(times) for times in arrays])),
        throughput_per_s=1e3 / mean,
        round_medians_ms=tuple(medians),
    )


def ratio(a: Rounds, b: Rounds, *, seed: int = 0) -> Interval:
    """Return the time of B over that of A, from the rounds that have both.

    The value is the geometric mean over the rounds of the ratio of medians inside a round. Its
    interval has two parts, in logarithms: how rounds differ, by Student's t for so many of them
    (that is a bootstrap of rounds, which over a handful is too narrow as it stands); and what the
    runs inside the rounds leave open, by a bootstrap of blocks of neighbours, as those depend on
    one another. Same numbers, same interval. Errors: `ValueError` with fewer than two rounds.
    """
    shared = sorted(key for key in a.keys() & b.keys() if len(a[key]) and len(b[key]))
    if len(shared) < 2:
        raise ValueError("a ratio takes two rounds at least")
    random = np.random.default_rng(seed)
    logs = np.log([np.median(b[key]) / np.median(a[key]) for key in shared])
    inside = [
        float(np.log(_resampled_medians(times, RESAMPLES, random)).var(ddof=1))
        for key in shared
        for times in (a[key], b[key])
    ]
    count = len(shared)
    between = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * logs.std(ddof=1)) / count**0.5
    within = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(sum(inside)) / count
    half = math.hypot(between, within) + math.log1p(RESOLUTION)
    value = float(logs.mean())
    return Interval(math.exp(value), math.exp(value - half), math.exp(value + half), count)


def _resampled_medians(times: Sequence[float], count: int, random: np.random.Generator) -> Numbers:
    """Medians of `count` resamples, drawn in blocks of neighbours (a circular block bootstrap)."""
    kept = np.asarray(times, np.float64)
    kept = kept[:: max(1, kept.size // KEPT_OF_A_ROUND)]
    block = max(1, round(kept.size ** (1 / 3)))
    starts = random.integers(0, kept.size, (count, math.ceil(kept.size / block)))
    places = (starts[:, :, None] + np.arange(block)).reshape(count, -1)[:, : kept.size]
    medians: Numbers = np.median(kept[places % kept.size], axis=1)
    return medians


def _spread(times: Numbers) -> float:
    low, middle, high = np.percentile(times, (10, 50, 90))
    return float((high - low) / CENTRAL_SIGMAS / middle)


def _trend(times: Numbers) -> float:
    half = times.size // 2
    return float(np.median(times[half:]) / np.median(times[:half]) - 1) if half else 0.0


def _autocorrelation(times: Numbers) -> float:
    """Spearman's, which outliers do not decide."""
    if times.size < 8:
        return 0.0
    ranks = stats.rankdata(times)
    ranks -= ranks.mean()
    power = float((ranks**2).sum())
    return float((ranks[1:] * ranks[:-1]).sum() / power) if power else 0.0
