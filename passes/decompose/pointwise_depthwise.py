"""pointwise_depthwise: a pointwise convolution, then a few filters of its own for every output.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (O*rank, I/G, 1, 1), groups G, no bias, at the resolution of the input
         Conv (O, rank, KH, KW), groups O, with the bias, the strides, pads and dilations
Exact at rank = min(I/G, KH*KW); below, `error` is the share of the energy that the discarded
    singular values of every output's filter (I/G, KH*KW) held. Under statistics both halves are
    fitted to the output; never worse than the SVD with its second half re-fitted. The first half
    has no bias, so that the zeros of the padding are those of the convolution replaced.
Refuses pointwise kernels and depthwise convolutions; where the rank is left to `energy`, also the
    first one and those that would not save multiply-adds.
Paper: Guo et al., "Network Decoupling: From Regular to Depthwise Separable Convolutions", BMVC
    2018, its order PW+DW. The paper takes the SVD; the fit under statistics is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal
from edgecc.rewrite import Factors, Solved
from passes.decompose.kronecker import KroneckerFit, by_output
from passes.decompose.rank import RankRewrite

OUTPUTS_TO_PLAN = 64
"""Outputs are fitted one by one: what some gain from it, all do."""


@dataclass(frozen=True)
class PointwiseDepthwise(RankRewrite):
    """Pointwise convolution, then a few filters of its own for every output."""

    name: ClassVar[str] = "pointwise_depthwise"

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse what has no window, or no second channel."""
        if conv.taps == 1:
            return Refusal("its kernel is 1x1 (basis works on 1x1)")
        if conv.is_depthwise:
            return Refusal("it is depthwise already")
        return None

    def full_rank(self, conv: Conv) -> int:
        """Return min(I/G, KH*KW)."""
        return min(int(conv.weight.shape[1]), conv.taps)

    def granule_of_rank(self, granule: int) -> int:
        """Every rank is a whole number of filters an output."""
        return 1

    def curve(self, conv: Conv, statistics: Statistics) -> Sequence[float] | None:
        """Return the energy beyond each rank of the filters; none under statistics."""
        if statistics.covariance is not None:
            return None
        weight = conv.weight.astype(np.float64).reshape(conv.out_channels, -1, conv.taps)
        energy = np.sum(np.linalg.svd(weight, compute_uv=False) ** 2, axis=0)
        tail = np.append(np.cumsum(energy[::-1])[::-1][1:], 0.0)
        return [float(lost) for lost in tail / (energy.sum() or 1.0)]

    def effort(self, conv: Conv) -> float:
        """Every output is a problem of its own, in the whole covariance."""
        return float(conv.out_channels) * conv.patch_size**2 / 5

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the pointwise and the depthwise weights of one group."""
        outputs, rank = conv.out_channels // conv.groups, self.rank or 1
        return (outputs, rank, int(conv.weight.shape[1])), (outputs, rank, conv.taps)

    def errors(
        self, conv: Conv, statistics: Statistics, choices: Sequence[RankRewrite]
    ) -> list[float]:
        """Return the error of each choice; of many outputs, some are fitted, and what they gain
        is taken for all: within a few percent.
        """
        if statistics.covariance is None:
            return super().errors(conv, statistics, choices)
        lost, energy = np.zeros(len(choices)), 0.0
        for block in statistics.blocks(conv):
            fit = KroneckerFit.of(block)
            lost += [_lost(fit, choice.rank or 1) for choice in choices]
            energy += block.energy(block.weight)
        return [float(error) for error in np.maximum(lost, 0) / (energy or 1.0)]

    def solve(self, block: Block) -> Solved:
        """Decompose the filter of every output, then fit both halves in turn; METHODS B2'."""
        mix, filters = _decomposed(block, self.rank)
        rank = mix.shape[2]
        if block.covariance is None or rank == min(block.channels, block.taps):
            return _multiplied_out(mix, filters)
        fit = KroneckerFit.of(block)
        *free, kept = fit.filters(mix)
        mix, filters, reached = fit.solve(rank)
        worse = (reached < kept)[:, None, None]
        mix, filters = np.where(worse, free[0], mix), np.where(worse, free[1], filters)
        return _multiplied_out(mix, filters)

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the pointwise convolution and the filters; the rank runs fastest."""
        mix, filters = factors
        ones = (1,) * len(conv.kernel)
        pointwise = mix.reshape(-1, conv.weight.shape[1], *ones)
        hidden = build.conv(x, pointwise, groups=conv.groups)
        depthwise = filters.reshape(conv.out_channels, -1, *conv.kernel)
        return build.conv(hidden, depthwise, bias, window=conv.window, groups=conv.out_channels)


def _decomposed(block: Block, rank: int | None) -> tuple[Array, Array]:
    """The mix (n, c, rank) and the filters (n, rank, taps) of every output by SVD."""
    u, s, vt = np.linalg.svd(by_output(block), full_matrices=False)
    return u[:, :, :rank], (s[:, :, None] * vt)[:, :rank]


def _multiplied_out(mix: Array, filters: Array) -> Solved:
    made = (mix @ filters).reshape(len(mix), -1)
    return Solved(made, (np.ascontiguousarray(mix.transpose(0, 2, 1)), filters))


def _lost(fit: KroneckerFit, rank: int) -> float:
    """The energy that is lost at a rank, from as many outputs as are fitted for a plan."""
    some, chosen = fit.some(OUTPUTS_TO_PLAN)
    lost = fit.lost(*fit.start(rank))
    before, after = float(lost[chosen].sum()), some.energy - float(some.solve(rank)[2].sum())
    return float(lost.sum()) * (after / before if before > 0 else 1.0)
