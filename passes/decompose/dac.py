"""dac: a depthwise convolution with multiplier, then a pointwise one, by an SVD per channel.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (I*rank, 1, KH, KW), groups I, no bias, with the strides, pads and dilations
         Conv (O, I/G*rank, 1, 1), groups G, with the bias
Exact at rank = min(O/G, KH*KW); below, `error` is the share of the weights' energy that the
    discarded singular values held. One rank serves all channels of a convolution.
Refuses pointwise kernels and convolutions that are depthwise already; where the rank is left to
    `energy`, also the first one and those that would not save multiply-adds.
Paper: Li et al., "DAC: Data-free Automatic Acceleration of Convolutional Networks", WACV 2019.
    The paper gives ranks; here also an energy for each layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.conv import Conv, Refusal
from edgecc.rewrite import Builder
from passes.decompose.rank import RankRewrite, energies


@dataclass(frozen=True)
class Dac(RankRewrite):
    """Depthwise convolution with multiplier, then pointwise (data-free, SVD per channel)."""

    name: ClassVar[str] = "dac"

    def spectrum(self, conv: Conv) -> npt.NDArray[Any] | Refusal:
        """Return the squared singular values of the channels, summed over the channels."""
        if conv.taps == 1:
            return Refusal("its kernel is 1x1 (basis works on 1x1)")
        if conv.is_depthwise:
            return Refusal("it is depthwise already")
        return energies(_channels(conv))

    def macs_per_rank(self, conv: Conv) -> int:
        """Return what a filter per channel and its column of the pointwise half cost."""
        return conv.in_channels * (conv.taps + conv.out_channels // conv.groups)

    def rewrite(self, conv: Conv, x: ir.Value, build: Builder) -> ir.Value:
        """Build the depthwise and the pointwise convolution."""
        rank = self.rank
        u, s, vt = np.linalg.svd(_channels(conv), full_matrices=False)
        depthwise = vt[:, :rank]  # (I, rank, taps)
        pointwise = (u * s[:, None])[:, :, :rank]  # (I, O/G, rank)
        by_group = pointwise.reshape(conv.groups, -1, *pointwise.shape[1:])
        pointwise = by_group.transpose(0, 2, 1, 3)  # (G, O/G, I/G, rank): channel-major columns
        ones = (1,) * len(conv.kernel)
        hidden = build.conv(
            x, depthwise.reshape(-1, 1, *conv.kernel), like=conv, groups=conv.in_channels
        )
        return build.conv(
            hidden,
            pointwise.reshape(conv.out_channels, -1, *ones),
            conv.bias,
            groups=conv.groups,
        )


def _channels(conv: Conv) -> npt.NDArray[Any]:
    """The filters that see each input channel: (I, O/G, taps)."""
    weight = conv.grouped().transpose(0, 2, 1, 3)  # (G, I/G, O/G, taps)
    return weight.reshape(conv.in_channels, -1, conv.taps)
