"""tucker2: a narrow convolution between two pointwise ones.

Before:  Conv (O, I/G, *kernel), groups G
After:   Conv (G*rank_in, I/G, 1, 1), groups G, no bias
         Conv (G*rank, rank_in, *kernel), groups G, no bias, with the strides, pads and dilations
         Conv (O, rank, 1, 1), groups G, with the bias
Exact at rank = min(O/G, I/G*KH*KW) with rank_in = I/G, which that rank takes along. Below there is
    no closed form: orthogonal iteration (HOOI) without statistics; under them reduced-rank
    regression for the outputs and a few rounds of least squares for the inputs.
Refuses pointwise kernels and depthwise convolutions; where the rank is left to `energy`, also the
    first one and those that would not save multiply-adds.
Paper: Kim et al., "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
    Applications", ICLR 2016. There both ranks come from the weights by variational Bayes; here
    rank_in follows rank by a rule, and a planner tries more of them.
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

SHARE, EXPONENT = 0.7, 0.4
"""`rank_in = SHARE * rank * (I/O) ** EXPONENT`. On 52 convolutions of six trained networks, at half
and at 0.3 of the multiply-adds, it errs 1.11 and 1.07 times as much as the best pair of ranks;
equal ranks 1.40 and 1.28 times, ranks in proportion to I and O 1.32 and 1.22 times."""
SHARES = (0.5, 0.7, 1.0)
"""What a planner tries with each rank; the best of them errs 1.02 and 1.01 times as much."""
PLANNED = 8
"""Ranks that a planner tries."""


@dataclass(frozen=True)
class Tucker2(RankRewrite):
    """Narrow convolution between two pointwise ones (Tucker decomposition of the channels)."""

    name: ClassVar[str] = "tucker2"

    rank_in: int | None = None
    """How many channels the narrow convolution reads; by default what suits its rank."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank_in is not None and self.rank_in < 1:
            raise UsageError(f"{self} reads nothing", hint="the smallest rank_in is 1")

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse what has no window, or no second channel."""
        if conv.is_depthwise:
            return Refusal("it is depthwise: it has no channels to narrow")
        if conv.taps == 1:
            return Refusal(f"its kernel is {'x'.join(map(str, conv.kernel))} (basis works on 1x1)")
        return None

    def full_rank(self, conv: Conv) -> int:
        """Return min(O/G, d)."""
        return min(conv.out_channels // conv.groups, conv.patch_size)

    def choices(self, conv: Conv, granule: int) -> Sequence[Self]:
        """Return ranks that save multiply-adds, each with some ranks of the inputs."""
        ranks = super().choices(conv, granule)
        if self.rank_in is not None:
            return ranks
        costs: dict[Self, float] = {}
        for choice in ranks[:: -(-len(ranks) // PLANNED) or 1]:
            for share in SHARES:
                suited = choice.ranks(*_sizes(conv), share)[1]
                rank_in = max(round(suited / granule), 1) * granule
                each = replace(choice, rank_in=min(rank_in, int(conv.weight.shape[1])))
                costs[each] = each.share(conv)
        return sorted((each for each in costs if costs[each] < 1), key=lambda each: costs[each])

    def settle(self, conv: Conv, statistics: Statistics) -> Self | Refusal:
        """Settle the rank of the inputs too."""
        settled = super().settle(conv, statistics)
        if isinstance(settled, Refusal):
            return settled
        return replace(settled, rank_in=settled.ranks(*_sizes(conv))[1])

    def ranks(self, outputs: int, taps: int, inputs: int, share: float = SHARE) -> tuple[int, int]:
        """Return the ranks of the outputs and of the inputs for a group of these sizes."""
        full = min(outputs, inputs * taps)
        rank = min(self.rank or 1, full)
        suited = max(round(share * rank * (inputs / outputs) ** EXPONENT), -(-rank // taps))
        return rank, min(self.rank_in or (suited if rank < full else inputs), inputs)

    def errors(
        self, conv: Conv, statistics: Statistics, choices: Sequence[RankRewrite]
    ) -> list[float]:
        """Return the errors, all but the middle one estimated (`SharedBasis.gain`)."""
        ranks = [c.ranks(*_sizes(conv)) for c in choices if isinstance(c, Tucker2)]
        lost, energy = np.zeros(len(ranks)), 0.0
        for block in statistics.blocks(conv) if ranks else ():
            shared = SharedBasis.of(block)
            lost += _lost(shared, ranks)
            energy += shared.energy
        return [float(error) for error in lost / (energy or 1.0)]

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the three weights of one group."""
        outputs, taps, inputs = _sizes(conv)
        rank, rank_in = self.ranks(outputs, taps, inputs)
        return (rank_in, inputs), (rank, rank_in, taps), (outputs, rank)

    def solve(self, block: Block) -> Solved:
        """Fit the three weights in turns; METHODS B5."""
        return self._solved(block)

    def solve_again(self, block: Block, before: Factors) -> Solved:
        """Begin where the last turns ended."""
        return self._solved(block, before[0].T)

    def _solved(self, block: Block, basis: Array | None = None) -> Solved:
        shared = SharedBasis.of(block)
        found = shared.solve(*self.ranks(*shared.weight.shape), basis)
        core = found.core.transpose(0, 2, 1)  # (rank, rank_in, taps)
        return Solved(shared.weight_of(found), (found.basis.T, core, found.outputs))

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the three convolutions."""
        basis, core, outputs = factors
        ones, groups = (1,) * len(conv.kernel), conv.groups
        x = build.conv(x, basis.reshape(-1, conv.weight.shape[1], *ones), groups=groups)
        core = core.reshape(-1, core.shape[2], *conv.kernel)
        x = build.conv(x, core, window=conv.window, groups=groups)
        return build.conv(x, outputs.reshape(conv.out_channels, -1, *ones), bias, groups=groups)


def _sizes(conv: Conv) -> tuple[int, int, int]:
    """Outputs, taps and inputs of one group."""
    return conv.out_channels // conv.groups, conv.taps, int(conv.weight.shape[1])


def _lost(shared: SharedBasis, ranks: Sequence[tuple[int, int]]) -> Array:
    """The energy lost by each pair of ranks: the first basis', times the gain of the middle one."""
    basis, filters = shared.begun(max(rank_in for _, rank_in in ranks))
    taps, kept = shared.weight.shape[1], {}
    for rank_in in {rank_in for _, rank_in in ranks}:
        some = filters[: rank_in * taps]
        kept[rank_in] = np.cumsum(np.linalg.eigvalsh(some.T @ some)[::-1])
    lost = [max(shared.energy - kept[rank_in][rank - 1], 0.0) for rank, rank_in in ranks]
    middle = len(ranks) // 2
    rank, rank_in = ranks[middle]
    return np.array(lost) * shared.gain(basis[:, :rank_in], rank, lost[middle])
