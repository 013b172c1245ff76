"""depthwise: the two halves of `dac`, both fitted to the output, all channels together.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (I*rank, 1, KH, KW), groups I, no bias, with the strides, pads and dilations
         Conv (O, I/G*rank, 1, 1), groups G, with the bias
Exact at rank = min(O/G, KH*KW); below, `error` is at most that of `dac` under the same
    statistics, and equal to it without any.
Refuses pointwise kernels and convolutions that are depthwise already; where the rank is left to
    `energy`, also the first one and those that would not save multiply-adds.
Paper: He, Qian et al., "Depth-wise Decomposition for Accelerating Separable Convolutions in
    Efficient Convolutional Neural Networks", arXiv 1910.09455: a generalised SVD per channel, and
    what one channel loses is made up for by the others. We go over the channels three times, and
    end with one least-squares fit of the whole pointwise half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv
from edgecc.rewrite import Solved
from passes.decompose.dac import Dac, Refit, by_channel, multiplied_out
from passes.decompose.rank import RankRewrite

SWEEPS = 3
"""More gain less than half a percent of the error."""
AT_ONCE = 32
"""Channels between two updates of what is missing: wide enough for one large product."""


@dataclass(frozen=True)
class Depthwise(Dac):
    """Depthwise convolution with multiplier, then pointwise (both fitted to the output)."""

    name: ClassVar[str] = "depthwise"

    def curve(self, conv: Conv, statistics: Statistics) -> Sequence[float] | None:
        """Return that of `dac` without statistics; with them no decomposition gives it."""
        return super().curve(conv, statistics) if statistics.covariance is None else None

    def errors(
        self, conv: Conv, statistics: Statistics, choices: Sequence[RankRewrite]
    ) -> list[float]:
        """Return the error of each choice after one sweep: up to 3 % above what `solve` reaches."""
        if statistics.covariance is None or not choices:
            return super().errors(conv, statistics, choices)
        ranks = [min(choice.rank or 1, self.full_rank(conv)) for choice in choices]
        lost, energy = np.zeros(len(ranks)), 0.0
        for block in statistics.blocks(conv):
            fit = _Fit.of(block)
            lost += fit.energy - fit.kept(ranks)
            energy += fit.energy
        return [float(error) for error in np.maximum(lost, 0) / (energy or 1.0)]

    def solve(self, block: Block) -> Solved:
        """Sweep over the channels from the better of two starts, then re-fit; METHODS B2."""
        full = min(len(block.weight), block.taps)
        if block.covariance is None or self.rank is None or self.rank >= full:
            return super().solve(block)
        return multiplied_out(*_Fit.of(block).solve(self.rank))


@dataclass(frozen=True, eq=False)
class _Fit:
    """A group's filters with all that the fits of several ranks share."""

    block: Block
    output: Array
    """`W S` (n, d)."""
    whiten: Array
    """(c, taps, taps): the inverse of the Cholesky factor of each channel's covariance."""
    order: Array
    """(c,): the channels, the liveliest first."""
    starts: tuple[Array, ...]
    """Orthonormal filters of every channel, the most important first: (c, taps, taps) each."""

    @classmethod
    def of(cls, block: Block) -> _Fit:
        """Prepare the fits of a block with statistics."""
        channels, taps = block.channels, block.taps
        four = block.dense_covariance.reshape(channels, taps, channels, taps)
        each = np.arange(channels)
        own = four[each, :, each]  # (c, taps, taps)
        root = np.linalg.cholesky(own)
        whiten = np.linalg.inv(root)
        weight = by_channel(block)
        plain = _principal(weight)
        coloured = np.linalg.qr(whiten.transpose(0, 2, 1) @ _principal(weight @ root))[0]
        return cls(
            block,
            output=block.times(block.weight),
            whiten=whiten,
            order=np.argsort(-np.trace(own, axis1=1, axis2=2), kind="stable"),
            starts=(plain.transpose(0, 2, 1), coloured.transpose(0, 2, 1)),
        )

    @property
    def energy(self) -> float:
        """`tr(W S W^T)`."""
        return float(np.sum(self.output * self.block.weight))

    def solve(self, rank: int) -> tuple[Array, Array]:
        """Return the depthwise (c, rank, taps) and the pointwise half (n, c, rank).

        One start has the filters of `dac`, and no sweep loses energy: never worse than `dac`.
        """
        starts = [start[:, :rank] for start in self.starts]
        fitted = [self._refit(start) for start in starts]
        best = int(np.argmax([fit.gains().sum() for fit in fitted]))
        depthwise, pointwise = starts[best], fitted[best].pointwise(rank)
        for _ in range(SWEEPS):
            depthwise, pointwise, _ = self._sweep(depthwise, pointwise)
        return depthwise, self._refit(depthwise).pointwise(rank)

    def kept(self, ranks: Sequence[int]) -> Array:
        """Return the energy that each rank keeps after one sweep from the coloured start."""
        start = self.starts[1][:, : max(ranks)]
        fitted = self._refit(start)
        before = np.cumsum(fitted.gains())
        swept = [self._sweep(start[:, :rank], fitted.pointwise(rank)) for rank in ranks]
        return np.array(
            [before[r - 1] + gain for r, (_, _, gain) in zip(ranks, swept, strict=True)]
        )

    def _refit(self, depthwise: Array) -> Refit:
        return Refit.of(self.block, depthwise, self.output)

    def _sweep(self, depthwise: Array, pointwise: Array) -> tuple[Array, Array, float]:
        """Fit each channel anew to what the others leave of the output."""
        channels, rank, taps = depthwise.shape
        depthwise, pointwise, gained = depthwise.copy(), pointwise.copy(), 0.0
        for start in range(0, channels, AT_ONCE):
            chosen = self.order[start : start + AT_ONCE]
            columns = (chosen[:, None] * taps + np.arange(taps)).ravel()
            rows = self.block.dense_covariance[columns]  # (chosen*taps, d)
            seen = depthwise @ rows.T.reshape(channels, taps, -1)  # Z S, (c, rank, chosen*taps)
            flat = pointwise.reshape(len(pointwise), -1)
            missing = self.output[:, columns] - flat @ seen.reshape(channels * rank, -1)
            gained += self._fit_channels(chosen, missing, rows[:, columns], depthwise, pointwise)
        return depthwise, pointwise, gained

    def _fit_channels(
        self, chosen: Array, missing: Array, among: Array, depthwise: Array, pointwise: Array
    ) -> float:
        """Fit some channels one after the other, in place.

        `missing` is `(W - W') S` in their columns before, `among` their covariance.
        """
        taps, rank = self.block.taps, depthwise.shape[1]
        change, gained = np.zeros_like(missing), 0.0
        for i, channel in enumerate(chosen):
            here, before = slice(i * taps, (i + 1) * taps), slice(0, i * taps)
            was = pointwise[:, channel] @ depthwise[channel]
            own = was @ among[here, here]
            wanted = missing[:, here] + own - change[:, before] @ among[before, here]
            whiten = self.whiten[channel]
            white = wanted @ whiten.T  # (n, taps)
            kept = _principal(white)[:, :rank]
            filters, mix = np.linalg.qr(whiten.T @ kept)
            white = white @ kept
            depthwise[channel] = filters.T
            pointwise[:, channel] = white @ mix.T
            change[:, here] = pointwise[:, channel] @ depthwise[channel] - was
            gained += float(np.sum(white**2) + np.sum((own - 2 * wanted) * was))
        return gained


def _principal(matrices: Array) -> Array:
    """The right singular vectors of (..., rows, columns) as columns, the largest first."""
    gram = np.swapaxes(matrices, -1, -2) @ matrices
    return np.linalg.eigh(gram)[1][..., ::-1]
