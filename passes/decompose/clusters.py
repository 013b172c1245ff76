"""Outputs and channels in parts of equal size, and the Gathers that bring the parts together.

Every step is one linear assignment, which is exact; the parts found are a local optimum, the same
in every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from edgecc.builder import Builder, V
from edgecc.conv import Array

STARTS, FEW_STARTS, MANY = 8, 3, 256
"""Starts of a search; from `MANY` things on an assignment takes its time, and there are few."""
SWEEPS = 20


def assign(gain: Array) -> Array:
    """Put each of n things in one of the parts, n / parts in each, where the `gain` (n, parts) is
    largest in sum.
    """
    things, parts = gain.shape
    places = np.repeat(np.arange(parts), things // parts)
    found: Array = places[linear_sum_assignment(gain[:, places], maximize=True)[1]]
    return found


def co_cluster(energy: Array, parts: int) -> tuple[Array, Array]:
    """Put outputs and channels in parts so that much of the `energy` (n, c) lies where both are in
    the same one: the part of each output (n,), and of each channel (c,).
    """
    random = np.random.default_rng(0)
    channels = energy.shape[1]
    contiguous, shifted = np.arange(channels) * parts // channels, np.arange(channels) % parts
    shuffled = [random.permutation(shifted) for _ in range(_starts(energy) - 2)]
    best = (-1.0, shifted, shifted)
    for by_channel in (contiguous, shifted, *shuffled):
        last = -1.0
        for _ in range(SWEEPS):
            by_output = assign(_by_part(energy, by_channel, parts))
            gain = _by_part(energy.T, by_output, parts)
            by_channel = assign(gain)
            inside = float(gain[np.arange(channels), by_channel].sum())
            if inside > best[0]:
                best = (inside, by_output, by_channel)
            if inside <= last * (1 + 1e-12):
                break
            last = inside
    return best[1], best[2]


def cluster(energy: Array, parts: int) -> Array:
    """Put outputs in parts by where their `energy` (n, c) lies: the part of each (n,).

    Balanced k-means over the shares of each channel in what an output holds.
    """
    total = energy.sum(axis=1, keepdims=True)
    profiles = energy / np.where(total > 0, total, 1.0)
    random = np.random.default_rng(0)
    best, found = np.inf, np.zeros(len(energy), np.int64)
    for _ in range(_starts(energy)):
        centres = profiles[random.choice(len(profiles), parts, replace=False)]
        last = np.inf
        for _ in range(SWEEPS):
            distance = np.square(centres).sum(axis=1) - 2 * profiles @ centres.T  # (n, parts)
            labels = assign(-distance)
            spread = float(distance[np.arange(len(labels)), labels].sum())
            if spread < best:
                best, found = spread, labels
            if spread >= last - 1e-12 * abs(last):
                break
            last = spread
            centres = np.stack([profiles[labels == part].mean(axis=0) for part in range(parts)])
    return found


def _starts(energy: Array) -> int:
    return STARTS if max(energy.shape) < MANY else FEW_STARTS


def _by_part(energy: Array, part: Array, parts: int) -> Array:
    """The energy (n, parts) that lies in the columns of each part."""
    return np.stack([energy[:, part == each].sum(axis=1) for each in range(parts)], axis=1)


def reorder(x: V, channels: npt.NDArray[Any], build: Builder[V]) -> V:
    """`x` with its channels (all of them) in another order; nothing where it is the same order."""
    same = np.array_equal(channels, np.arange(len(channels)))
    return x if same else build.gather(x, channels)
