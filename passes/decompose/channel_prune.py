"""channel_prune: the convolution reads some of its input channels only.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Gather (G*keep channels)
         Conv (O, keep, KH, KW), groups G, with the strides, pads, dilations and the bias
    fold_gather then stops the layer before from making the others.
Exact at keep = I/G, where the convolution stays as it is; below, the filters are re-fitted to the
    channels that are left, least squares under the statistics. Channels go one by one, each time
    the one whose loss costs least after the re-fit (passes/decompose/obs.py), or by magnitude
    where that turns out better.
Refuses depthwise convolutions.
Paper: He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017;
    there a LASSO selects, here backward elimination. The re-fit is theirs, without sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block
from edgecc.conv import Array, Conv, Refusal
from edgecc.rewrite import Factors, Solved, rows_scaled
from passes.decompose import obs
from passes.decompose.descent import columns
from passes.decompose.keep import KeepRewrite, across_groups


@dataclass(frozen=True)
class ChannelPrune(KeepRewrite):
    """Some of the input channels only (optimal brain surgeon, then least squares)."""

    name: ClassVar[str] = "channel_prune"

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse depthwise convolutions."""
        if conv.is_depthwise:
            return Refusal("it is depthwise: every filter reads one channel")
        return None

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the filters and of the channels that they read."""
        outputs, channels = conv.out_channels // conv.groups, int(conv.weight.shape[1])
        if self.keeps_all(channels):
            return [(outputs, conv.patch_size)]
        keep = self.keep or 1
        return (outputs, keep * conv.taps), (keep,)

    def solve(self, block: Block) -> Solved:
        """Leave out the channels that can be spared, and re-fit the filters to the others."""
        if self.keeps_all(block.channels):
            return Solved(block.weight, (block.weight,))
        keep = self.keep or 1
        ranked = obs.rankings(block.weight, block, obs.inverse(block), keep, keep)
        channels = min(ranked, key=lambda ranking: ranking.lost[keep]).first(keep)
        return _of_channels(block, channels)

    def solve_again(self, block: Block, before: Factors) -> Solved:
        """Keep the channels that were kept."""
        if self.keeps_all(block.channels):
            return self.solve(block)
        return _of_channels(block, before[1])

    def lost(self, block: Block, least: int, most: int) -> Array:
        """Return what keeping each number of channels loses."""
        ranked = obs.rankings(block.weight, block, obs.inverse(block), least, most)
        found: Array = np.min([ranking.lost[least : most + 1] for ranking in ranked], axis=0)
        return found

    def scaled(self, factors: Factors, scale: Array) -> Factors:
        """Scale the filters."""
        filters, *channels = factors
        return (rows_scaled(filters, scale), *channels)

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the Gather and the smaller convolution."""
        weight, *channels = factors
        filters = weight.reshape(conv.out_channels, -1, *conv.kernel)
        for kept in channels:
            x = build.gather(x, across_groups(kept, int(conv.weight.shape[1])))
        return build.conv(x, filters, bias, window=conv.window, groups=conv.groups)


def _of_channels(block: Block, channels: Array) -> Solved:
    """The filters re-fitted to these channels alone."""
    kept = columns(channels, block.taps)
    filters = obs.refit(block.weight, block, kept)
    weight = np.zeros_like(block.weight)
    weight[:, kept] = filters
    return Solved(weight, (filters, channels))
