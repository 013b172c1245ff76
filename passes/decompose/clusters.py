"""Outputs and channels in parts of equal size, and the Gathers that bring the parts together.

Every step is one linear assignment, which is exact; the parts found are a local optimum, the same
in every run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from edgecc.builder import Builder, V
from edgecc.conv import Array

STARTS, FEW_STARTS, MANY = 8, 3, 256
"""Starts of a search; from `MANY` things on an assignment takes its time, and there are few."""
SWEEPS = 20
PRICINGS = 6
ROUNDING = 1e-12


def assign(gain: Array) -> Array:
    """Put each of n things in one of the parts, n / parts in each, where the `gain` (n, parts) is
    largest in sum.
    """
    things, parts = gain.shape
    if things >= MANY:
        return _Transport(gain).solve()
    places = np.repeat(np.arange(parts), things // parts)
    found: Array = places[linear_sum_assignment(gain[:, places], maximize=True)[1]]
    return found


class _Transport:
    """The same for many things and few parts, by successive shortest paths over the parts alone:
    500 times as fast as SciPy's assignment at 2048 things.

    Each thing begins in the part that is best for it at prices that nearly balance them; then, as
    long as a part holds too many, things move along the cheapest chain of parts to one that has
    room. Source: Ahuja, Magnanti, Orlin, "Network Flows", 1993, section 9.7.
    """

    def __init__(self, gain: Array) -> None:
        self._gain = gain
        self._part: Array = (gain - _prices(gain)).argmax(axis=1)
        things, parts = gain.shape
        self._rounding = ROUNDING * float(np.abs(gain).max())
        self._surplus = np.bincount(self._part, minlength=parts) - things // parts
        self._cost = np.full((parts, parts), np.inf)  # of moving one from a part to another
        self._cheapest = np.zeros((parts, parts), np.int64)  # the one that it costs least to move

    def solve(self) -> Array:
        """The part of each thing (n,)."""
        self._price(range(len(self._cost)))
        while (self._surplus > 0).any():
            chain = self._chain()
            for step in chain:
                self._part[self._cheapest[step]] = step[1]
            self._surplus[chain[-1][0]] -= 1
            self._surplus[chain[0][1]] += 1
            self._price({part for step in chain for part in step})
        return self._part

    def _price(self, parts: Iterable[int]) -> None:
        for part in parts:
            inside = np.flatnonzero(self._part == part)
            self._cost[part] = np.inf
            if len(inside):
                loss = self._gain[inside, part][:, None] - self._gain[inside]
                best = loss.argmin(axis=0)
                self._cost[part] = loss[best, np.arange(len(best))]
                self._cheapest[part] = inside[best]
            self._cost[part, part] = np.inf

    def _chain(self) -> list[tuple[int, int]]:
        """The cheapest way from a part that holds too many to one with room, its last step first
        (Bellman and Ford's).
        """
        distance = np.where(self._surplus > 0, 0.0, np.inf)
        before = np.full(len(distance), -1)
        for _ in distance:
            through = distance[:, None] + self._cost
            best = through.argmin(axis=0)
            found = through[best, np.arange(len(best))]
            shorter = found < distance - self._rounding
            distance, before = np.where(shorter, found, distance), np.where(shorter, best, before)
        part = int(np.where(self._surplus < 0, distance, np.inf).argmin())
        chain: list[tuple[int, int]] = []
        while before[part] >= 0:
            chain.append((int(before[part]), part))
            part = int(before[part])
        return chain


def _prices(gain: Array) -> Array:
    """What each part (parts,) should cost for as many things to choose it as it holds: one price
    after the other is set so, given the others.
    """
    things, parts = gain.shape
    room = things // parts
    prices, by_part = np.zeros(parts), np.ascontiguousarray(gain.T)
    for part in np.tile(np.arange(parts), PRICINGS):
        others = np.delete(np.arange(parts), part)
        best = (by_part[others] - prices[others, None]).max(axis=0)
        worth = np.partition(by_part[part] - best, (things - room - 1, things - room))
        prices[part] = (worth[things - room - 1] + worth[things - room]) / 2
    return prices


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
