"""spatial_svd: a convolution along one side of the kernel, then one along the other.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (G*rank, I/G, KH, 1), groups G, no bias, with the window of the height
         Conv (O, rank, 1, KW), groups G, with the window of the width, and the bias
         With `first=horizontal` the width comes first; left open, what errs less does.
Exact at rank = min(I/G*KH, O/G*KW), KH and KW exchanged with the width first. Below, without
    statistics, `error` is the tail of the singular values; under statistics there is no closed
    form, and a few rounds of least squares come near (see `SharedBasis`).
Refuses kernels that are not 2-D, those with a side of 1, depthwise convolutions; where the rank
    is left to `energy`, also the first one and those that would not save multiply-adds.
Paper: Jaderberg, Vedaldi, Zisserman, "Speeding up Convolutional Neural Networks with Low Rank
    Expansions", BMVC 2014. There the height comes first, and gradients fit both halves to the
    data. On 55 convolutions of trained networks the order alone is worth up to 2.4 times in error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal
from edgecc.errors import UsageError
from edgecc.rewrite import Factors, Solved
from passes.decompose.rank import RankRewrite
from passes.decompose.shared_basis import SharedBasis

if TYPE_CHECKING:
    from typing_extensions import Self

SIDES = ("vertical", "horizontal")
WIDE = 2304
"""Numbers that one filter of the dense convolution sees: 256 channels, 3x3."""


@dataclass(frozen=True)
class SpatialSvd(RankRewrite):
    """Convolution along one side of the kernel, then along the other."""

    name: ClassVar[str] = "spatial_svd"

    first: str | None = None
    """The side that comes first: vertical or horizontal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first not in (None, *SIDES):
            raise UsageError(f"{self}: a kernel has no such side", hint="vertical or horizontal")

    @property
    def axis(self) -> int:
        """The spatial dimension that comes first."""
        return SIDES.index(self.first or SIDES[0])

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse what does not separate."""
        sides = "x".join(map(str, conv.kernel))
        if conv.is_depthwise:
            return Refusal("it is depthwise: its channels share no side of a kernel")
        if conv.taps == 1:
            return Refusal(f"its kernel is {sides} (basis works on 1x1)")
        if len(conv.kernel) != 2:
            return Refusal(f"its kernel is {len(conv.kernel)}-D, and it separates 2-D ones")
        return Refusal(f"its kernel is {sides}: separated already") if 1 in conv.kernel else None

    def full_rank(self, conv: Conv) -> int:
        """Return the inputs of the side that comes first, or the outputs of the other, if fewer."""
        before, after = conv.kernel[self.axis], conv.kernel[1 - self.axis]
        return min(int(conv.weight.shape[1]) * before, conv.out_channels // conv.groups * after)

    def choices(self, conv: Conv, granule: int) -> Sequence[Self]:
        """Return ranks that save multiply-adds, in both orders."""
        if self.first is not None:
            return super().choices(conv, granule)
        both = [replace(self, first=side).choices(conv, granule) for side in SIDES]
        return sorted((*both[0], *both[1]), key=lambda choice: choice.share(conv))

    def settle(self, conv: Conv, statistics: Statistics) -> Self | Refusal:
        """Settle the order too: for a rank the one that errs less, for an energy the cheaper."""
        if self.first is not None:
            return super().settle(conv, statistics)
        both = [replace(self, first=side).settle(conv, statistics) for side in SIDES]
        settled = [each for each in both if not isinstance(each, Refusal)]
        if self.rank is None:
            return min(settled, key=lambda each: each.share(conv), default=both[0])
        return min(
            settled,
            key=lambda each: each._errors(conv, statistics, [each.rank or 1], refined=False),
        )

    def curve(self, conv: Conv, statistics: Statistics) -> Sequence[float]:
        """Return the errors before the rounds: under statistics those after are smaller."""
        full = self.full_rank(conv)
        return [*self._errors(conv, statistics, range(1, full), refined=False), 0.0]

    def errors(
        self, conv: Conv, statistics: Statistics, choices: Sequence[RankRewrite]
    ) -> list[float]:
        """Return the errors, all but the middle one of each order estimated; of wide convolutions
        through the first basis alone, a few percent above.
        """
        found: dict[RankRewrite, float] = {}
        refined = conv.patch_size <= WIDE
        for axis in range(2):
            mine = [c for c in choices if isinstance(c, SpatialSvd) and c.axis == axis]
            if mine:
                ranks = [min(each.rank or 1, each.full_rank(conv)) for each in mine]
                errors = mine[0]._errors(conv, statistics, ranks, refined=refined)
                found |= zip(mine, errors, strict=True)
        return [found[choice] for choice in choices]

    def _errors(
        self, conv: Conv, statistics: Statistics, ranks: Sequence[int], *, refined: bool
    ) -> list[float]:
        """The errors through the first basis; refined, times the gain of the middle rank."""
        lost, energy = np.zeros(len(ranks)), 0.0
        for block in statistics.blocks(conv) if ranks else ():
            shared = SharedBasis.of(block, 1 - self.axis)
            basis, filters = shared.begun(max(ranks))
            kept = np.cumsum(np.square(filters).sum(axis=1).reshape(max(ranks), -1).sum(axis=1))
            some = np.maximum(shared.energy - kept[np.array(ranks) - 1], 0)
            if refined:
                middle = len(ranks) // 2
                some *= shared.gain(basis[:, : ranks[middle]], filters.shape[1], some[middle])
            lost += some
            energy += shared.energy
        return [float(error) for error in lost / (energy or 1.0)]

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the two halves."""
        rank, inputs = self.rank or 1, int(conv.weight.shape[1])
        before, after = conv.kernel[self.axis], conv.kernel[1 - self.axis]
        return (rank, inputs * before), (conv.out_channels // conv.groups, rank, after)

    def solve(self, block: Block) -> Solved:
        """Fit the half that comes first, and by least squares the other; METHODS B6."""
        return self._solved(block)

    def solve_again(self, block: Block, before: Factors) -> Solved:
        """Begin where the last rounds ended."""
        return self._solved(block, before[0].T)

    def _solved(self, block: Block, basis: Array | None = None) -> Solved:
        shared = SharedBasis.of(block, 1 - self.axis)
        outputs, taps, inputs = shared.weight.shape
        found = shared.solve(outputs, min(self.rank or 1, inputs, outputs * taps), basis)
        mix = np.tensordot(found.outputs, found.core, (1, 0)).transpose(0, 2, 1)
        return Solved(shared.weight_of(found), (found.basis.T, mix))

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the two halves, each with its side of the window."""
        before, after = [1, 1], [1, 1]
        before[self.axis] = conv.kernel[self.axis]
        after[1 - self.axis] = conv.kernel[1 - self.axis]
        basis, mix = factors
        basis = basis.reshape(-1, conv.weight.shape[1], *before)
        mix = mix.reshape(conv.out_channels, -1, *after)
        window = conv.window
        hidden = build.conv(x, basis, window=window.along(self.axis), groups=conv.groups)
        return build.conv(hidden, mix, bias, window=window.along(1 - self.axis), groups=conv.groups)
