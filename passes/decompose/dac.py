"""dac: a depthwise convolution with multiplier, then a pointwise one, by an SVD per channel.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (I*rank, 1, KH, KW), groups I, no bias, with the strides, pads and dilations
         Conv (O, I/G*rank, 1, 1), groups G, with the bias
Exact at rank = min(O/G, KH*KW); below, `error` is the share of the energy that the discarded
    singular values held. One rank serves all channels of a convolution. Statistics change the
    pointwise half alone: it is re-fitted to the filters that the weights gave (`depthwise` fits
    these too).
Refuses pointwise kernels and convolutions that are depthwise already; where the rank is left to
    `energy`, also the first one and those that would not save multiply-adds.
Paper: Li et al., "DAC: Data-free Automatic Acceleration of Convolutional Networks", WACV 2019.
    The paper gives ranks and takes the pointwise half as the SVD leaves it; here also an energy
    for each layer, and the closed-form re-fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal
from edgecc.rewrite import Factors, Solved
from passes.decompose.rank import RankRewrite


@dataclass(frozen=True)
class Dac(RankRewrite):
    """Depthwise convolution with multiplier, then pointwise (SVD per channel)."""

    name: ClassVar[str] = "dac"

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse what has no window, or no second channel."""
        if conv.taps == 1:
            return Refusal("its kernel is 1x1 (basis works on 1x1)")
        if conv.is_depthwise:
            return Refusal("it is depthwise already")
        return None

    def full_rank(self, conv: Conv) -> int:
        """Return min(O/G, KH*KW)."""
        return min(conv.out_channels // conv.groups, conv.taps)

    def granule_of_rank(self, granule: int) -> int:
        """Every rank is a whole number of filters a channel."""
        return 1

    def curve(self, conv: Conv, statistics: Statistics) -> Sequence[float] | None:
        """Return the energy beyond each rank, over all groups, by one decomposition a group."""
        gains = np.zeros(self.full_rank(conv))
        for block in statistics.blocks(conv):
            gains += _gains(block)
        tail = np.append(np.cumsum(gains[::-1])[::-1][1:], 0.0)
        return [float(lost) for lost in tail / (gains.sum() or 1.0)]

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the depthwise and the pointwise weights of one group."""
        rank, channels = self.rank or 1, int(conv.weight.shape[1])
        return (channels, rank, conv.taps), (conv.out_channels // conv.groups, channels, rank)

    def solve(self, block: Block) -> Solved:
        """Take the filters of each channel by SVD, the pointwise half by least squares."""
        u, s, vt = np.linalg.svd(by_channel(block), full_matrices=False)
        depthwise = vt[:, : self.rank]  # (c, rank, taps)
        pointwise = (u * s[:, None])[:, :, : self.rank].transpose(1, 0, 2)  # (n, c, rank)
        if block.covariance is not None and depthwise.shape[1] < vt.shape[1]:
            pointwise = Refit.of(block, depthwise).pointwise()
        return multiplied_out(depthwise, pointwise)

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the depthwise and the pointwise convolution; the multiplier runs fastest."""
        depthwise, pointwise = factors
        filters = depthwise.reshape(-1, 1, *conv.kernel)
        hidden = build.conv(x, filters, window=conv.window, groups=conv.in_channels)
        ones = (1,) * len(conv.kernel)
        columns = pointwise.reshape(conv.out_channels, -1, *ones)
        return build.conv(hidden, columns, bias, groups=conv.groups)


def by_channel(block: Block) -> Array:
    """The filters that see each input channel: (c, n, taps)."""
    return block.weight.reshape(-1, block.channels, block.taps).transpose(1, 0, 2)


def singular_filters(block: Block) -> Array:
    """The right singular vectors of each channel's filters: (c, min(n, taps), taps)."""
    found: Array = np.linalg.svd(by_channel(block), full_matrices=False)[2]
    return found


def multiplied_out(depthwise: Array, pointwise: Array) -> Solved:
    """The filters that the two halves (c, rank, taps), (n, c, rank) stand for, with them."""
    made = (pointwise.transpose(1, 0, 2) @ depthwise).transpose(1, 0, 2)  # (n, c, taps)
    return Solved(made.reshape(len(made), -1), (depthwise, pointwise))


@dataclass(frozen=True, eq=False)
class Refit:
    """The best pointwise half for a depthwise one (c, rank, taps).

    `P = W S Z^T (Z S Z^T)^-1`, Z (rank*c, d) the depthwise half written out; METHODS A.7. It has
    the first filter of every channel first, then the second of every channel, so that the leading
    part of the Cholesky factor is that of a smaller rank. The filters of a channel are
    orthonormal: `Z S Z^T` is as definite as S, whatever the weights.
    """

    channels: int
    factor: Array
    """(rank*c, rank*c), lower: of `Z S Z^T`."""
    half: Array
    """(rank*c, n): its inverse times `Z S W^T`."""

    @classmethod
    def of(cls, block: Block, depthwise: Array, output: Array | None = None) -> Refit:
        """Prepare the fit of (c, rank, taps); `output` is `W S` where it is known."""
        seen = written_out(depthwise, block.dense_covariance)  # Z S, (rank*c, d)
        gram = written_out(depthwise, seen)
        cross = written_out(depthwise, block.times(block.weight) if output is None else output)
        factor = cholesky(gram.T, lower=True, overwrite_a=True, check_finite=False)
        half = solve_triangular(factor, cross, lower=True, check_finite=False)
        return cls(block.channels, factor, half)

    @property
    def kept(self) -> float:
        """The energy of the output that is kept."""
        return float(np.sum(self.half**2))

    def gains(self) -> Array:
        """What each rank adds to the energy kept, were the later ones left away: (rank,)."""
        by_rank = np.sum(self.half**2, axis=1).reshape(-1, self.channels)
        gains: Array = by_rank.sum(axis=1)
        return gains

    def pointwise(self) -> Array:
        """The pointwise half (n, c, rank)."""
        found: Array = solve_triangular(
            self.factor, self.half, lower=True, trans=1, check_finite=False
        )
        return found.reshape(-1, self.channels, found.shape[1]).transpose(2, 1, 0)


def written_out(depthwise: Array, rows: Array) -> Array:
    """`Z rows^T` (rank*c, m) for rows (m, d), Z the depthwise half (c, rank, taps) written out."""
    channels, rank, taps = depthwise.shape
    made: Array = np.empty((rank, channels, len(rows)), rows.dtype)
    np.matmul(depthwise, rows.T.reshape(channels, taps, -1), out=made.transpose(1, 0, 2))
    return made.reshape(rank * channels, -1)


def _gains(block: Block) -> Array:
    """What each rank adds to the output's energy: (min(n, taps),)."""
    weight = by_channel(block)
    if block.covariance is not None:
        return Refit.of(block, singular_filters(block)).gains()
    across = weight.transpose(0, 2, 1)
    gram = weight @ across if weight.shape[1] < block.taps else across @ weight
    gains: Array = np.maximum(np.linalg.eigvalsh(gram).sum(axis=0)[::-1], 0.0)
    return gains
