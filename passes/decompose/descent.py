"""Filters and the inverse of the covariance of what they read, as channels go one by one.

With `H_bb = L L^T`, `U = H_:b L^-T` and `V = W_b L^-T`, losing the channels b is
`H -= U U^T` and `W -= V U^T` (`passes.decompose.obs`). Of many channels a few go at once: the
cheapest of those that are cheapest by themselves, each after those before it.
"""

from __future__ import annotations

import numpy as np

from edgecc.conv import Array

PUT_OFF = 256
"""Columns of the inverse whose loss is carried out in one product."""
MANY = 128
"""Of so many channels two go at once, of twice as many three."""


class Descent:
    """Filters (n, d) and the inverse (c, taps, c, taps).

    What is lost is put off until there are `PUT_OFF` columns of U and V, and then done in one
    product; what the next choice needs is kept up to date: the blocks of H on the diagonal, and
    `W_c^T W_c`, (c, taps, taps) each.
    """

    def __init__(self, rows: Array, inverse: Array) -> None:
        channels, self._taps = inverse.shape[:2]
        size = channels * self._taps
        self._inverse, self._filters = inverse.reshape(size, size), rows.astype(np.float64)
        self._alive = np.arange(channels)
        self._start()

    def lose_cheapest(self, most: int) -> tuple[list[int], list[float]]:
        """Lose the channel that costs least, of many channels at once a few such; return them, and
        what each costs after those before it.
        """
        costs = _costs(self._diagonal, self._gram)
        costs[self._gone] = np.inf
        count = min(most, _together(len(self._alive) - len(self._gone)))
        if count == 1:
            chosen = [int(np.argmin(costs))]
            paid = [float(costs[chosen[0]])]
        else:
            chosen, paid = self._in_turn(np.argsort(costs, kind="stable")[: 2 * count], count)
        channels = [int(self._alive[index]) for index in chosen]
        self._lose(chosen)
        return channels, [max(0.0, cost) for cost in paid]

    def _in_turn(self, candidates: Array, count: int) -> tuple[list[int], list[float]]:
        """The order in which so many of the candidates go, were there no others."""
        here, size = columns(candidates, self._taps), len(candidates)
        put_off = self._put_off[here, : self._count]
        inverse = self._inverse[np.ix_(here, here)] - put_off @ put_off.T
        filters = self._filters[:, here] - self._mixes[:, : self._count] @ put_off.T
        gram = filters.T @ filters
        chosen: list[int] = []
        paid: list[float] = []
        for _ in range(count):
            costs = _costs(_on_diagonal(inverse, size), _on_diagonal(gram, size))
            costs[chosen] = np.inf
            chosen.append(int(np.argmin(costs)))
            paid.append(float(costs[chosen[-1]]))
            one = slice(chosen[-1] * self._taps, (chosen[-1] + 1) * self._taps)
            whiten = _whitening(inverse[one, one])
            across, along = inverse[:, one] @ whiten, gram[:, one] @ whiten
            along = along - 0.5 * across @ (whiten.T @ gram[one, one] @ whiten)
            gram -= along @ across.T + across @ along.T
            inverse -= across @ across.T
            inverse[one, one] = np.eye(self._taps)
        return [int(candidates[index]) for index in chosen], paid

    def _lose(self, indices: list[int]) -> None:
        here = columns(np.array(indices), self._taps)
        put_off, mixes = self._put_off[:, : self._count], self._mixes[:, : self._count]
        gone = self._inverse[here].T - put_off @ put_off[here].T
        filters = self._filters[:, here] - mixes @ put_off[here].T
        whiten = _whitening(gone[here])
        gone, mix = gone @ whiten, filters @ whiten  # (d, b), (n, b)
        across = mix.T @ self._filters - (mix.T @ mixes) @ put_off.T  # (b, d)
        by_channel = gone.reshape(-1, self._taps, len(here))
        across = across.reshape(len(here), -1, self._taps).transpose(1, 0, 2)
        across = by_channel @ (across - 0.5 * (mix.T @ mix) @ by_channel.transpose(0, 2, 1))
        self._gram -= across + across.transpose(0, 2, 1)
        self._diagonal -= by_channel @ by_channel.transpose(0, 2, 1)
        self._diagonal[indices] = np.eye(self._taps)
        self._gone += indices
        more = slice(self._count, self._count + len(here))
        self._put_off[:, more], self._mixes[:, more] = gone, mix
        self._count += len(here)
        if self._count > PUT_OFF:
            self._catch_up()

    def _catch_up(self) -> None:
        """Carry out what was put off, on the channels that are left."""
        put_off, mixes = self._put_off[:, : self._count], self._mixes[:, : self._count]
        left = np.delete(np.arange(len(self._alive)), self._gone)
        kept = columns(left, self._taps)
        put_off = put_off[kept]
        self._inverse = self._inverse[np.ix_(kept, kept)]
        self._inverse -= put_off @ put_off.T
        self._filters = self._filters[:, kept] - mixes @ put_off.T
        self._alive = self._alive[left]
        self._start()

    def _start(self) -> None:
        """Nothing is put off."""
        channels, taps = len(self._alive), self._taps
        by_channel = self._filters.reshape(-1, channels, taps).transpose(1, 2, 0)
        self._gram = by_channel @ by_channel.transpose(0, 2, 1)
        self._diagonal = _on_diagonal(self._inverse, channels).copy()
        most = PUT_OFF + _together(channels) * taps
        self._put_off = np.empty((channels * taps, most))
        self._mixes = np.empty((len(self._filters), most))
        self._count = 0
        self._gone: list[int] = []


def columns(channels: Array, taps: int) -> Array:
    """The columns of the filters that belong to these channels."""
    found: Array = (np.asarray(channels)[:, None] * taps + np.arange(taps)).ravel()
    return found


def _together(channels: int) -> int:
    """How many of so many go at once."""
    return 1 + channels // MANY


def _costs(inverse: Array, gram: Array) -> Array:
    """What losing each channel costs (c,), from the blocks (c, taps, taps) that are its own."""
    costs: Array = (np.linalg.inv(inverse) * gram).sum(axis=(1, 2))
    return costs


def _whitening(block: Array) -> Array:
    """`L^-T` where `L L^T` is the block."""
    found: Array = np.linalg.inv(np.linalg.cholesky(block)).T
    return found


def _on_diagonal(square: Array, count: int) -> Array:
    """The blocks on the diagonal of a matrix: (count, size, size)."""
    size = len(square) // count
    found: Array = np.einsum("ctcu->ctu", square.reshape(count, size, count, size))
    return found
