"""hetconv: full kernels inside parts of the channels, and a pointwise convolution between them.

Before:  Conv (O, I, KH, KW)
After:   Gather (I channels, by part)
         Conv (O, I/parts, KH, KW), groups parts, no bias, with the strides, pads and dilations
         Gather (O channels, back in order)
         Conv (O, I, 1, 1) of the centre taps, with the strides and the bias
         Add
    No Gather where the order is the same; the pointwise weights inside a part are zero. The
    multiply-adds are 1/parts + 1/(KH*KW) of what they were.
Exact at parts = 1, where the convolution stays as it is; above, the filters are the best with
    those taps: least squares under the statistics. `topology` says which channels an output sees
    whole: "clustered" those that it can least spare, "shifted" and "contiguous" o = i modulo parts
    and blocks.
Refuses pointwise, grouped and even kernels, numbers of channels that the parts do not divide, and
    pads of less than half the kernel: the pointwise convolution would have to crop.
Paper: Singh, Verma, Rai, Namboodiri, "HetConv: Heterogeneous Kernel-Based Convolutions for Deep
    CNNs", CVPR 2019: shifted, trained from scratch, and without the zeros (their equation 5 has
    1/parts + (1 - 1/parts)/(KH*KW)). The projection of trained filters and the choice of the parts
    by what losing a tap costs (passes/decompose/obs.py) are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgecc.builder import Builder, V
from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal, Window
from edgecc.errors import UsageError, did_you_mean
from edgecc.rewrite import ConvRewrite, Factors, Solved, rows_scaled
from passes.decompose import obs
from passes.decompose.clusters import co_cluster, reorder

TOPOLOGIES = ("clustered", "shifted", "contiguous")
PARTS = (16, 8, 4, 2)
Parts = tuple[Array, Array]
"""The part of each output (n,), and of each channel (c,)."""


@dataclass(frozen=True)
class Hetconv(ConvRewrite):
    """Full kernels inside parts of the channels, pointwise between them."""

    name: ClassVar[str] = "hetconv"
    parts: int = 2
    """Each output sees one channel in so many with its whole kernel."""
    topology: str = "clustered"
    """Which ones: clustered (by the statistics), shifted (as in the paper) or contiguous."""

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise UsageError(f"{self} has no parts", hint="the smallest number of parts is 1")
        if self.topology not in TOPOLOGIES:
            raise UsageError(
                f"hetconv has no topology '{self.topology}'",
                hint=did_you_mean(self.topology, TOPOLOGIES),
            )

    def refuse(self, conv: Conv) -> Refusal | None:
        """Refuse what has no window or no centre, and what the parts do not divide."""
        if conv.groups > 1:
            return Refusal(f"it has {conv.groups} groups already")
        if conv.taps == 1:
            return Refusal("its kernel is 1x1 (basis works on 1x1)")
        if any(size % 2 == 0 for size in conv.kernel):
            return Refusal(f"its kernel is {'x'.join(map(str, conv.kernel))}: it has no centre")
        if conv.out_channels % self.parts or conv.in_channels % self.parts:
            return Refusal(
                f"{self.parts} parts do not divide {conv.in_channels} channels and "
                f"{conv.out_channels} outputs"
            )
        if min(_centre_window(conv).pads) < 0:
            return Refusal("its pads are less than half its kernel")
        return None

    def effort(self, conv: Conv) -> float:
        """The scores take the inverse of the covariance, and the clusters some rounds."""
        return float(conv.patch_size) ** 3 / 8

    def choices(self, conv: Conv, granule: int) -> Sequence[Hetconv]:
        """Return 16, 8, 4 and 2 parts, where they divide the channels."""
        found = [replace(self, parts=parts) for parts in PARTS]
        return [choice for choice in found if choice.refuse(conv) is None]

    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the grouped and the pointwise weights and of the two orders."""
        outputs, channels = conv.out_channels, conv.in_channels
        if self.parts == 1:
            return [(outputs, conv.patch_size)]
        weights = (outputs, conv.patch_size // self.parts), (outputs, channels)
        return weights if self.topology == "contiguous" else (*weights, (channels,), (outputs,))

    def solve(self, block: Block) -> Solved:
        """Choose the parts and fit the filters to them; METHODS B3."""
        if self.parts == 1:
            return Solved(block.weight, (block.weight,))
        return self._solved(block, self._best(block, self._energies(block)))

    def solve_again(self, block: Block, before: Factors) -> Solved:
        """Keep the parts."""
        if self.parts == 1:
            return self.solve(block)
        _, _, *orders = before
        by_channel, place = orders or (np.arange(block.channels), np.arange(len(block.weight)))
        channels = np.argsort(by_channel) * self.parts // block.channels
        outputs = place * self.parts // len(block.weight)
        return self._solved(block, _Fit.of(block, (outputs, channels), self.parts))

    def _solved(self, block: Block, fit: _Fit) -> Solved:
        factors = fit.factors(block)
        return Solved(fit.weight, factors[:2] if self.topology == "contiguous" else factors)

    def scaled(self, factors: Factors, scale: Array) -> Factors:
        """Scale both halves; that inside the parts lies by parts."""
        if self.parts == 1:
            return (rows_scaled(factors[0], scale),)
        inside, between, *orders = factors
        by_part = scale[np.argsort(orders[1])] if orders else scale
        return (rows_scaled(inside, by_part), rows_scaled(between, scale), *orders)

    def errors(self, conv: Conv, statistics: Statistics, choices: Sequence[Hetconv]) -> list[float]:
        """Return the error of each choice; what losing a tap costs is the same for all."""
        (block,) = statistics.blocks(conv)
        energies = self._energies(block)
        total = block.energy(block.weight) or 1.0
        return [choice._best(block, energies).lost / total for choice in choices]

    def _energies(self, block: Block) -> list[Array]:
        """What each output loses without the outer taps of a channel (n, c): by the statistics, and
        by magnitude.
        """
        if self.topology != "clustered":
            return []
        weight = block.weight.reshape(-1, block.channels, block.taps)
        outer = np.delete(np.arange(block.taps), block.taps // 2)
        by_size = obs.losses(weight, None, outer)
        inverse = obs.inverse(block)
        return [by_size] if inverse is None else [obs.losses(weight, inverse, outer), by_size]

    def _best(self, block: Block, energies: Sequence[Array]) -> _Fit:
        """Fit the filters to the parts that each of the energies suggests; return the best."""
        found = [_Fit.of(block, parts, self.parts) for parts in self._topologies(block, energies)]
        return min(found, key=lambda fit: fit.lost)

    def _topologies(self, block: Block, energies: Sequence[Array]) -> list[Parts]:
        if self.topology == "clustered":
            return [co_cluster(energy, self.parts) for energy in energies]
        outputs, channels = np.arange(len(block.weight)), np.arange(block.channels)
        if self.topology == "shifted":
            return [(outputs % self.parts, channels % self.parts)]
        return [(outputs * self.parts // len(outputs), channels * self.parts // len(channels))]

    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Build the grouped convolution between its Gathers, the pointwise one and their sum."""
        if self.parts == 1:
            return build.conv(x, factors[0].reshape(conv.weight.shape), bias, window=conv.window)
        grouped, between, *orders = (factor[0] for factor in factors)
        kernels = grouped.reshape(conv.out_channels, -1, *conv.kernel)
        inside = reorder(x, orders[0], build) if orders else x
        inside = build.conv(inside, kernels, window=conv.window, groups=self.parts)
        inside = reorder(inside, orders[1], build) if orders else inside
        centre = between.reshape(*between.shape, *(1,) * len(conv.kernel))
        return build.add(inside, build.conv(x, centre, bias, window=_centre_window(conv)))


@dataclass(frozen=True, eq=False)
class _Fit:
    """The best filters (n, d) with these parts."""

    weight: Array
    outputs: Array
    channels: Array
    lost: float

    @classmethod
    def of(cls, block: Block, parts: Parts, count: int) -> _Fit:
        outputs, channels = parts
        weight = np.zeros_like(block.weight)
        for part in range(count):
            seen = np.zeros((block.channels, block.taps), bool)
            seen[:, block.taps // 2] = True
            seen[channels == part] = True
            rows, kept = np.flatnonzero(outputs == part), np.flatnonzero(seen)
            weight[np.ix_(rows, kept)] = obs.refit(block.weight[rows], block, kept)
        return cls(weight, outputs, channels, block.energy(block.weight - weight))

    def factors(self, block: Block) -> Factors:
        """The weights inside the parts and between them, the order of the channels by part, and
        where each output then lies.
        """
        weight = self.weight.reshape(-1, block.channels, block.taps)
        same = self.outputs[:, None] == self.channels  # (n, c)
        by_output = np.argsort(self.outputs, kind="stable")
        by_channel = np.argsort(self.channels, kind="stable")
        whole = weight[by_output][:, by_channel][same[by_output][:, by_channel]]
        inside = whole.reshape(len(weight), -1)
        between = np.where(same, 0.0, weight[:, :, block.taps // 2])
        return inside, between, by_channel, np.argsort(by_output, kind="stable")


def _centre_window(conv: Conv) -> Window:
    """The window of the centre tap alone: what its kernel reaches over is taken from the pads."""
    reach = [
        size // 2 * step for size, step in zip(conv.kernel, conv.window.dilations, strict=True)
    ]
    pads = tuple(pad - over for pad, over in zip(conv.window.pads, reach * 2, strict=True))
    return Window(conv.window.strides, pads, (1,) * len(conv.kernel))
