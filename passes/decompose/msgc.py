"""msgc: the outputs in heads, each of which reads some of the input channels only.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Gather (G*heads*keep channels; one may serve several heads)
         Conv (O, keep, KH, KW), groups G*heads, with the strides, pads, dilations and the bias
         Gather (O channels, back in order), where the heads are clusters
    fold_gather then stops the layer before from making channels that no head reads.
Exact at keep = I/G, where the convolution stays as it is; below, each head is what channel_prune
    does to its outputs. `clustered` heads are of outputs that can spare the same channels (by the
    statistics or by magnitude, what turns out better); else they are contiguous, as in the paper.
Refuses depthwise convolutions, fully connected layers, and outputs that the heads do not divide.
Paper: Su, Zhang, Zhao, Lu, Liu, Hu, Liu, "Boosting Convolutional Neural Networks with Middle
    Spectrum Grouped Convolution", TNNLS 2024: gates choose each head's channels for each image, and
    are trained. Here the choice is made once, without training, and saves time on every device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block
from edgecc.conv import Array, Conv, Refusal
from edgecc.errors import UsageError
from edgecc.products import side_by_side
from edgecc.rewrite import Factors, Solved, rows_scaled
from passes.decompose import obs
from passes.decompose.clusters import cluster, reorder
from passes.decompose.descent import columns
from passes.decompose.keep import KeepRewrite, across_groups


@dataclass(frozen=True, eq=False)
class _Heads:
    """Outputs in heads, and the orders in which each head can lose channels."""

    rows: Array
    """(heads, n/heads)"""
    rankings: list[list[obs.Ranking]]

    def lost(self) -> Array:
        """What keeping 0, 1, ..., c channels in each head loses (c + 1,)."""
        best = [np.min([r.lost for r in ranked], axis=0) for ranked in self.rankings]
        found: Array = np.sum(best, axis=0)
        return found


@dataclass(frozen=True)
class Msgc(KeepRewrite):
    """Heads of outputs that read some of the input channels only."""

    name: ClassVar[str] = "msgc"
    heads: int = 4
    """How many, in each group."""
    clustered: bool = True
    """Whether a head is of outputs that need the same channels, or of neighbours."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1:
            raise UsageError(f"{self} has no heads", hint="the smallest number of heads is 1")

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse what has no groups, and what the heads do not divide."""
        outputs = conv.out_channels // conv.groups
        if conv.is_depthwise:
            return Refusal("it is depthwise: every filter reads one channel")
        if not conv.kernel:
            return Refusal("it is fully connected: it has no groups")
        if outputs % self.heads:
            return Refusal(f"{self.heads} heads do not divide its {outputs} outputs")
        return None

    def effort(self, conv: Conv) -> float:
        """Every head goes its own way down."""
        return (1 + self.heads) * super().effort(conv)

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the filters, of what each head reads and of the outputs' order."""
        outputs, channels = conv.out_channels // conv.groups, int(conv.weight.shape[1])
        if self.keeps_all(channels):
            return [(outputs, conv.patch_size)]
        keep = self.keep or 1
        filters = (outputs, keep * conv.taps), (self.heads, keep)
        return (*filters, (outputs,)) if self._has_order else filters

    @property
    def _has_order(self) -> bool:
        return self.clustered and self.heads > 1

    def solve(self, block: Block) -> Solved:
        """Put the outputs in heads, prune the channels of each and re-fit; METHODS B4."""
        if self.keeps_all(block.channels):
            return Solved(block.weight, (block.weight,))
        keep = self.keep or 1
        heads = min(self._heads(block, keep, keep), key=lambda found: found.lost()[keep])
        best = (min(ranked, key=lambda ranking: ranking.lost[keep]) for ranked in heads.rankings)
        return self._fitted(block, heads.rows, np.stack([one.first(keep) for one in best]))

    def solve_again(self, block: Block, before: Factors) -> Solved:
        """Keep the heads and their channels."""
        if self.keeps_all(block.channels):
            return self.solve(block)
        order = np.argsort(before[2]) if self._has_order else np.arange(len(block.weight))
        return self._fitted(block, order.reshape(self.heads, -1), before[1])

    def _fitted(self, block: Block, rows: Array, channels: Array) -> Solved:
        """The filters of heads (heads, n/heads) re-fitted to their channels (heads, keep)."""
        weight, filters = np.zeros_like(block.weight), []
        for mine, read in zip(rows, channels, strict=True):
            kept = columns(read, block.taps)
            filters.append(obs.refit(block.weight[mine], block, kept))
            weight[np.ix_(mine, kept)] = filters[-1]
        factors = np.concatenate(filters), channels
        return Solved(weight, (*factors, np.argsort(rows.ravel())) if self._has_order else factors)

    def lost(self, block: Block, least: int, most: int) -> Array:
        """Return what keeping each number of channels in every head loses."""
        found: Array = np.min([h.lost() for h in self._heads(block, least, most)], axis=0)
        return found[least : most + 1]

    def _heads(self, block: Block, least: int, most: int) -> Iterator[_Heads]:
        """The ways to put the outputs in heads: where what they need lies by the statistics, and
        by magnitude, in which case the channels go by magnitude too.
        """
        inverse = obs.inverse(block)
        ways = [inverse] if inverse is None else [inverse, None]
        for way in ways if self._has_order else [inverse]:
            labels = np.arange(len(block.weight)) * self.heads // len(block.weight)
            if self._has_order:
                weight = block.weight.reshape(-1, block.channels, block.taps)
                labels = cluster(obs.losses(weight, way), self.heads)
            rows = np.argsort(labels, kind="stable").reshape(self.heads, -1)

            def ranked(head: Array, way: Array | None = way) -> list[obs.Ranking]:
                return obs.rankings(block.weight[head], block, way, least, most)

            yield _Heads(rows, side_by_side(ranked, rows))

    def scaled(self, factors: Factors, scale: Array) -> Factors:
        """Scale the filters, which lie by heads."""
        filters, *index = factors
        if len(index) == 2:
            scale = scale[np.argsort(index[1])]
        return (rows_scaled(filters, scale), *index)

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build one Gather for all heads, one grouped convolution, and the outputs' order."""
        weight, *index = factors
        filters = weight.reshape(conv.out_channels, -1, *conv.kernel)
        if not index:
            return build.conv(x, filters, bias, window=conv.window, groups=conv.groups)
        x = build.gather(x, across_groups(index[0], int(conv.weight.shape[1])))
        back = np.arange(conv.out_channels)
        if self._has_order:
            back = across_groups(index[1], conv.out_channels // conv.groups)
            bias = bias if bias is None else bias[np.argsort(back)]
        groups = conv.groups * self.heads
        y = build.conv(x, filters, bias, window=conv.window, groups=groups)
        return reorder(y, back, build)
