"""How many times longer one thing takes than another, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
COVERED = 0.95
"""How often the interval holds the true ratio."""


@dataclass(frozen=True)
class Ratio:
    """The median time of one thing over that of another."""

    value: float
    low: float
    high: float
    """From `low` to `high`: the bootstrap's interval, rounds drawn again with both their times."""

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Compare times of the same rounds, round by round as they were measured.

    Errors: `ValueError` for none, for different numbers of them, or for times that are not above 0.
    """
    times = np.array([ours, theirs], np.float64)  # (2, rounds)
    if not times.size or not (times > 0).all():
        raise ValueError("a ratio takes times, and all of them above 0")
    drawn = np.random.default_rng(0).integers(0, times.shape[1], (RESAMPLES, times.shape[1]))
    above, below = np.median(times[:, drawn], axis=2)
    low, high = np.quantile(above / below, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    upper, lower = np.median(times, axis=1)
    return Ratio(float(upper / lower), float(low), float(high))


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios: that of their inverses is its inverse. Errors: `ValueError` for none."""
    logarithms = [math.log(value) for value in values]
    if not logarithms:
        raise ValueError("the mean of nothing is not known")
    return math.exp(sum(logarithms) / len(logarithms))


def table_row(cells: Iterable[object]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def table_head(names: Sequence[str]) -> str:
    """The head of a Markdown table: its names, and the line below."""
    return f"{table_row(names)}\n|{'---|' * len(names)}"
