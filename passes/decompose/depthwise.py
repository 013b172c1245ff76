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
    what one channel loses is made up for by the others. We go over the channels several times,
    each time with a least-squares fit of the whole pointwise half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv
from edgecc.rewrite import Solved
from passes.decompose.dac import Dac, Refit, by_channel, multiplied_out, singular_filters
from passes.decompose.rank import RankRewrite

ROUNDS = 6
"""More gain a percent or two of the error. A plan makes do with two thirds of them."""
ENOUGH = 0.005
"""A round that gains less than this share of the error is the last."""
ROUNDS_OF_LARGE = 3
LARGE = 2304
"""Numbers that one filter of the dense convolution sees: 256 channels, 3x3."""
AT_ONCE = 16
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
        """Return the error of each choice after two thirds of the rounds: up to 5 % above. Of a
        wide convolution the middle one alone is fitted; what it gains on `dac` is taken for all.
        """
        if statistics.covariance is None or not choices:
            return super().errors(conv, statistics, choices)
        ranks = [choice.rank or 1 for choice in choices]
        fitted = ranks if conv.patch_size < LARGE else [ranks[len(ranks) // 2]]
        lost, energy = np.zeros(len(fitted)), 0.0
        for block in statistics.blocks(conv):
            fit = _Fit.of(block)
            rounds = fit.rounds - fit.rounds // 3
            lost += [fit.energy - fit.run(rank, rounds)[1].kept for rank in fitted]
            energy += fit.energy
        found = np.maximum(lost, 0) / (energy or 1.0)
        if len(fitted) < len(ranks):
            blind = np.array(Dac().errors(conv, statistics, [Dac(rank=rank) for rank in ranks]))
            found = blind * found / (blind[len(ranks) // 2] or 1.0)
        return [float(error) for error in found]

    def solve(self, block: Block) -> Solved:
        """Fit channel by channel, and the pointwise half in between; METHODS B2."""
        full = min(len(block.weight), block.taps)
        if block.covariance is None or self.rank is None or self.rank >= full:
            return super().solve(block)
        fit = _Fit.of(block)
        depthwise, fitted = fit.run(self.rank, fit.rounds)
        plain = Refit.of(block, singular_filters(block)[:, : self.rank], fit.output)
        if plain.kept > fitted.kept:
            return super().solve(block)
        return multiplied_out(depthwise, fitted.pointwise())


@dataclass(frozen=True, eq=False)
class _Fit:
    """A group's filters with all that the fits of several ranks share."""

    block: Block
    output: Array
    """`W S` (n, d)."""
    energy: float
    """`tr(W S W^T)`."""
    whiten: Array
    """(c, taps, taps): the inverse of the Cholesky factor of each channel's covariance."""
    order: Array
    """(c,): the channels, the liveliest first."""
    start: tuple[Array, Array, Array]
    """The best of each channel by itself, the most important filter first: orthonormal filters
    (c, taps, taps), and the factors (c, n, taps), (c, taps, taps) of their columns.
    """

    @classmethod
    def of(cls, block: Block) -> _Fit:
        """Prepare the fits of a block with statistics."""
        channels, taps = block.channels, block.taps
        four = block.dense_covariance.reshape(channels, taps, channels, taps)
        each = np.arange(channels)
        own = four[each, :, each]  # (c, taps, taps)
        root = np.linalg.cholesky(own)
        whiten = np.linalg.inv(root)
        white = by_channel(block) @ root
        principal = _principal(white)
        filters, mix = np.linalg.qr(whiten.transpose(0, 2, 1) @ principal)
        output = block.times(block.weight)
        return cls(
            block,
            output=output,
            energy=float(np.sum(output * block.weight)),
            whiten=whiten,
            order=np.argsort(-np.trace(own, axis1=1, axis2=2), kind="stable"),
            start=(filters.transpose(0, 2, 1), white @ principal, mix),
        )

    @property
    def rounds(self) -> int:
        """How often all channels are fitted."""
        return ROUNDS if self.block.weight.shape[1] <= LARGE else ROUNDS_OF_LARGE

    def run(self, rank: int, rounds: int) -> tuple[Array, Refit]:
        """Return the depthwise half (c, rank, taps) and the fit of the pointwise one."""
        filters, white, mix = self.start
        depthwise = filters[:, :rank]
        pointwise = white[:, :, :rank] @ mix[:, :rank, :rank].transpose(0, 2, 1)
        pointwise = pointwise.transpose(1, 0, 2)  # (n, c, rank)
        lost = np.inf
        for left in range(rounds)[::-1]:
            depthwise = self._sweep(depthwise, pointwise)
            fitted = Refit.of(self.block, depthwise, self.output)
            before, lost = lost, self.energy - fitted.kept
            if not left or lost > (1 - ENOUGH) * before:
                break
            pointwise = fitted.pointwise()
        return depthwise, fitted

    def _sweep(self, depthwise: Array, pointwise: Array) -> Array:
        """Fit each channel anew to what the others leave of the output."""
        channels, rank, taps = depthwise.shape
        depthwise, pointwise = depthwise.copy(), pointwise.copy()
        for start in range(0, channels, AT_ONCE):
            chosen = self.order[start : start + AT_ONCE]
            columns = (chosen[:, None] * taps + np.arange(taps)).ravel()
            rows = self.block.dense_covariance[columns]  # (chosen*taps, d)
            seen = depthwise @ rows.T.reshape(channels, taps, -1)  # Z S, (c, rank, chosen*taps)
            flat = pointwise.reshape(len(pointwise), -1)
            missing = self.output[:, columns] - flat @ seen.reshape(channels * rank, -1)
            self._fit_channels(chosen, missing, rows[:, columns], depthwise, pointwise)
        return depthwise

    def _fit_channels(
        self, chosen: Array, missing: Array, among: Array, depthwise: Array, pointwise: Array
    ) -> None:
        """Fit some channels one after the other, in place.

        `missing` is `(W - W') S` in their columns before, `among` their covariance.
        """
        taps, rank = self.block.taps, depthwise.shape[1]
        change = np.zeros_like(missing)
        for i, channel in enumerate(chosen):
            here, before = slice(i * taps, (i + 1) * taps), slice(0, i * taps)
            was = pointwise[:, channel] @ depthwise[channel]
            wanted = missing[:, here] + was @ among[here, here]
            wanted -= change[:, before] @ among[before, here]
            whiten = self.whiten[channel]
            white = wanted @ whiten.T  # (n, taps)
            kept = _principal(white)[:, :rank]
            filters, mix = np.linalg.qr(whiten.T @ kept)
            depthwise[channel] = filters.T
            pointwise[:, channel] = white @ kept @ mix.T
            change[:, here] = pointwise[:, channel] @ depthwise[channel] - was


def _principal(matrices: Array) -> Array:
    """The right singular vectors of (..., rows, columns) as columns, the largest first."""
    gram = np.swapaxes(matrices, -1, -2) @ matrices
    return np.linalg.eigh(gram)[1][..., ::-1]
