"""basis: a few orthonormal 3-D filters, then a pointwise convolution that mixes them.

Before:  Conv (O, I/G, KH, KW), groups G
After:   Conv (G*rank, I/G, KH, KW), groups G, no bias, with the strides, pads and dilations
         Conv (O, rank, 1, 1), groups G, with the bias
Exact at rank = min(O/G, I/G*KH*KW); below, `error` is the share of the weights' energy that the
    discarded singular values held. All groups share one rank.
Refuses depthwise convolutions; where the rank is left to `energy`, also the first one and
    those that would not save multiply-adds.
Paper: Tayyab, Khan, Mahalanobis, "Compressing Deep CNNs using Basis Representation and Spectral
    Fine-tuning", ICIP 2021. The official code decomposes a grouped convolution as if it had one
    group; here each group has its own basis.
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
class Basis(RankRewrite):
    """Orthonormal 3-D basis filters, then pointwise (data-free, SVD of the filters)."""

    name: ClassVar[str] = "basis"

    def spectrum(self, conv: Conv) -> npt.NDArray[Any] | Refusal:
        """Return the squared singular values of the filters, summed over the groups."""
        if conv.is_depthwise:
            return Refusal("it is depthwise: its filters have no basis in common")
        return energies(_filters(conv))

    def macs_per_rank(self, conv: Conv) -> int:
        """Return what a basis filter in each group and its column of the mix cost."""
        return conv.groups * int(conv.weight[0].size) + conv.out_channels

    def rewrite(self, conv: Conv, x: ir.Value, build: Builder) -> ir.Value:
        """Build the basis filters and the pointwise convolution that mixes them."""
        basis, mix = _factors(_filters(conv), self.rank or 1)
        ones = (1,) * len(conv.kernel)
        hidden = build.conv(
            x, basis.reshape(-1, *conv.weight.shape[1:]), like=conv, groups=conv.groups
        )
        return build.conv(
            hidden, mix.reshape(conv.out_channels, -1, *ones), conv.bias, groups=conv.groups
        )


def _filters(conv: Conv) -> npt.NDArray[Any]:
    """Every filter as a row, by group: (G, O/G, I/G*taps)."""
    return conv.grouped().reshape(conv.groups, conv.out_channels // conv.groups, -1)


def _factors(filters: npt.NDArray[Any], rank: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return orthonormal basis filters (G, rank, d) and how they mix (G, O/G, rank).

    The truncated SVD of `filters` (G, O/G, d), from the smaller Gram matrix, in half the time.
    The product is exact at full rank, as it needs no more of the eigenvectors than to be
    orthonormal.
    """
    transposed = filters.transpose(0, 2, 1)
    if filters.shape[1] > filters.shape[2]:
        right = np.linalg.eigh(transposed @ filters)[1][:, :, ::-1][:, :, :rank]  # (G, d, rank)
        return right.transpose(0, 2, 1), filters @ right
    left = np.linalg.eigh(filters @ transposed)[1][:, :, ::-1][:, :, :rank]  # (G, O/G, rank)
    q, r = np.linalg.qr(transposed @ left)  # (G, d, rank), (G, rank, rank)
    return q.transpose(0, 2, 1), left @ r.transpose(0, 2, 1)
