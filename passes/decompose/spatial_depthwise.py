"""spatial_depthwise: along one side of the kernel, then the other, each of them depthwise.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (I*multiplier, 1, KH, 1), groups I, no bias
         Conv (G*rank, I/G*multiplier, 1, 1), groups G, no bias
         Conv (G*rank*multiplier, 1, 1, KW), groups G*rank, no bias
         Conv (O, rank*multiplier, 1, 1), groups G, with the bias
         Strides, pads and dilations go with their side.
Exact at the full rank of `spatial_svd` with the multiplier of the longer side; `error` is the share
    of the output's energy that is lost.
Refuses what `spatial_svd` refuses.
Paper: the combination "SD + ND" of Guo et al., "Network Decoupling: From Regular to Depthwise
    Separable Convolutions", BMVC 2018, there data-free; here each half is fitted under the
    statistics of what it reads, the second to what the first really gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal
from edgecc.errors import UsageError
from edgecc.rewrite import Factors, Solved
from passes.decompose.depthwise import Depthwise
from passes.decompose.rank import RankRewrite
from passes.decompose.spatial_svd import SpatialSvd

if TYPE_CHECKING:
    from typing_extensions import Self

RANKS = 4
RIDGE = 1e-9


@dataclass(frozen=True)
class SpatialDepthwise(RankRewrite):
    """Spatial halves, each a depthwise convolution with multiplier, then pointwise."""

    name: ClassVar[str] = "spatial_depthwise"

    multiplier: int | None = None
    """Filters a channel in each half; the default is one fewer than exact, exact at full rank."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multiplier is not None and self.multiplier < 1:
            raise UsageError(f"{self} keeps nothing", hint="the smallest multiplier is 1")

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse what does not separate."""
        return SpatialSvd().refuse(conv)

    def full_rank(self, conv: Conv) -> int:
        """Return that of the spatial halves."""
        return SpatialSvd().full_rank(conv)

    def effort(self, conv: Conv) -> float:
        """Every choice is solved by itself."""
        return float(conv.patch_size) ** 3

    def choices(self, conv: Conv, granule: int) -> Sequence[Self]:
        """Return a few ranks with every multiplier that is not exact."""
        spatial = SpatialSvd(first="vertical").choices(conv, granule)
        ranks = [c.rank for c in spatial][:: max(1, len(spatial) // RANKS)]
        made = [
            replace(self, rank=rank, multiplier=multiplier)
            for rank in ranks
            for multiplier in range(1, max(conv.kernel))
        ]
        return sorted(made, key=lambda choice: choice.share(conv))

    def settle(self, conv: Conv, statistics: Statistics) -> Self | Refusal:
        """Settle the multiplier too: for an energy the cheapest that keeps it."""
        most = max(conv.kernel)
        if self.multiplier is None and self.rank is None:
            every = [replace(self, multiplier=m + 1).settle(conv, statistics) for m in range(most)]
            settled = [each for each in every if not isinstance(each, Refusal)]
            return min(settled, key=lambda each: each.share(conv), default=every[-1])
        multiplier = min(self.multiplier or most, most)
        if self.multiplier is None and (self.rank or 0) < self.full_rank(conv):
            multiplier = most - 1
        return super(SpatialDepthwise, replace(self, multiplier=multiplier)).settle(
            conv, statistics
        )

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the depthwise and pointwise weights, half by half."""
        rank, channels = self.rank or 1, int(conv.weight.shape[1])
        first, second = (min(self.multiplier or 1, side) for side in conv.kernel)
        outputs = conv.out_channels // conv.groups
        return (
            (channels, first, conv.kernel[0]),
            (rank, channels, first),
            (rank, second, conv.kernel[1]),
            (outputs, rank, second),
        )

    def solve(self, block: Block) -> Solved:
        """Solve the spatial halves, then each by itself, the second for what the first gives."""
        high, wide = block.kernel
        multiplier = self.multiplier or 1
        halves = SpatialSvd(rank=self.rank, first="vertical").solve(block).factors
        first, mix = halves  # (rank, c*high), (n, rank, wide)
        middle = np.arange(block.channels * high) * wide + wide // 2
        seen = None if block.covariance is None else block.covariance[np.ix_(middle, middle)]
        top = Depthwise(rank=multiplier).solve(Block(first, seen, block.channels, (high, 1)))
        rows = top.weight.reshape(-1, block.channels, high)
        features = np.einsum("rci,jk->rjcik", rows, np.eye(wide))
        features = features.reshape(-1, block.weight.shape[1])  # (rank*wide, d)
        reads = block.times(features)
        covariance = reads @ features.T
        covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        wanted = mix.reshape(len(mix), -1)
        if multiplier < high:
            wanted = cho_solve(cho_factor(covariance), reads @ block.weight.T).T
        bottom = Depthwise(rank=multiplier).solve(Block(wanted, covariance, len(rows), (1, wide)))
        return Solved(bottom.weight @ features, (*top.factors, *bottom.factors))

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build four convolutions, each side with its part of the window."""
        high, wide = conv.kernel
        filters, mix, others, columns = factors
        groups, rank = len(mix), mix.shape[1]
        sides = ((filters, (high, 1), conv.in_channels), (others, (1, wide), groups * rank))
        pointwise = ((mix, groups * rank, None), (columns, conv.out_channels, bias))
        for axis, ((one, kernel, channels), (two, outputs, last)) in enumerate(
            zip(sides, pointwise, strict=True)
        ):
            depthwise = one.reshape(-1, 1, *kernel)
            x = build.conv(x, depthwise, window=conv.window.along(axis), groups=channels)
            x = build.conv(x, two.reshape(outputs, -1, 1, 1), last, groups=groups)
        return x
