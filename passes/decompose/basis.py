"""basis: a few 3-D basis filters, then a pointwise convolution that mixes them.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (G*rank, I/G, KH, KW), groups G, no bias, with the strides, pads and dilations
         Conv (O, rank, 1, 1), groups G, with the bias
Exact at rank = min(O/G, I/G*KH*KW); below, `error` is the share of the output's energy that the
    discarded components held: the mix is the principal components of the output. Without
    statistics these are the singular vectors of the filters.
Refuses depthwise convolutions; where the rank is left to `energy`, also the first one and
    those that would not save multiply-adds.
Paper: Tayyab, Khan, Mahalanobis, "Compressing Deep CNNs using Basis Representation and Spectral
    Fine-tuning", ICIP 2021; under statistics it is the channel decomposition of Zhang et al.,
    "Accelerating Very Deep Convolutional Networks", TPAMI 2016. The official code decomposes a
    grouped convolution as if it had one group; here each group has its own basis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.linalg import eigh, eigvalsh, solve_triangular

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal
from edgecc.rewrite import Factors, Solved
from passes.decompose.rank import RankRewrite


@dataclass(frozen=True)
class Basis(RankRewrite):
    """Orthonormal 3-D basis filters, then pointwise (principal components of the output)."""

    name: ClassVar[str] = "basis"

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse depthwise convolutions."""
        if conv.is_depthwise:
            return Refusal("it is depthwise: its filters have no basis in common")
        return None

    def full_rank(self, conv: Conv) -> int:
        """Return min(O/G, d)."""
        return min(conv.out_channels // conv.groups, conv.patch_size)

    def curve(self, conv: Conv, statistics: Statistics) -> Sequence[float]:
        """Return the share of the output's energy beyond each rank, over all groups."""
        spectrum = np.zeros(self.full_rank(conv))
        for block in statistics.blocks(conv):
            spectrum += np.maximum(eigvalsh(block.gram()[0], check_finite=False)[::-1], 0)
        tail = np.append(np.cumsum(spectrum[::-1])[::-1][1:], 0.0)
        return [float(lost) for lost in tail / (spectrum.sum() or 1.0)]

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the basis filters and of the mix."""
        rank = self.rank or 1
        return (rank, conv.patch_size), (conv.out_channels // conv.groups, rank)

    def solve(self, block: Block) -> Solved:
        """Project the filters on the principal components of the output; METHODS B1.

        The basis is orthonormal: filters of like scale, as integers want them. At full rank any
        covariance gives the filters themselves; none gives them most exactly.
        """
        size = min(block.weight.shape)
        rank = size if self.rank is None else min(self.rank, size)
        gram, root = (block if rank < size else replace(block, covariance=None)).gram()
        kept = eigh(gram, subset_by_index=[size - rank, size - 1], check_finite=False)[1][:, ::-1]
        if len(block.weight) == size:
            filters, mix = kept.T @ block.weight, kept
        elif root is None:
            filters, mix = kept.T, block.weight @ kept
        else:
            filters = solve_triangular(root, kept, lower=True, trans=1, check_finite=False).T
            mix = block.weight @ (root @ kept)
        q, r = np.linalg.qr(filters.T)  # (d, rank), (rank, rank)
        mix = mix @ r.T
        return Solved(mix @ q.T, (q.T, mix))

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the basis filters and the pointwise convolution that mixes them."""
        basis, mix = factors
        filters = basis.reshape(-1, *conv.weight.shape[1:])
        hidden = build.conv(x, filters, window=conv.window, groups=conv.groups)
        ones = (1,) * len(conv.kernel)
        pointwise = mix.reshape(conv.out_channels, -1, *ones)
        return build.conv(hidden, pointwise, bias, groups=conv.groups)
