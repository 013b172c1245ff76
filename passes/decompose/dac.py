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
    The paper gives ranks; here also an energy for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block
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

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the depthwise and the pointwise weights of one group."""
        rank, channels = self.rank or 1, int(conv.weight.shape[1])
        return (channels, rank, conv.taps), (conv.out_channels // conv.groups, channels, rank)

    def solve(self, block: Block) -> Solved:
        """Take the filters of each channel by SVD; METHODS B2."""
        weight = block.weight.reshape(len(block.weight), block.channels, block.taps)
        u, s, vt = np.linalg.svd(weight.transpose(1, 0, 2), full_matrices=False)
        depthwise = vt[:, : self.rank]  # (c, rank, taps)
        pointwise = (u * s[:, None])[:, :, : self.rank].transpose(1, 0, 2)  # (n, c, rank)
        made = np.einsum("ncr,crt->nct", pointwise, depthwise)
        return Solved(made.reshape(block.weight.shape), (depthwise, pointwise))

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the depthwise and the pointwise convolution; the multiplier runs fastest."""
        depthwise, pointwise = factors
        filters = depthwise.reshape(-1, 1, *conv.kernel)
        hidden = build.conv(x, filters, window=conv.window, groups=conv.in_channels)
        ones = (1,) * len(conv.kernel)
        columns = pointwise.reshape(conv.out_channels, -1, *ones)
        return build.conv(hidden, columns, bias, groups=conv.groups)
