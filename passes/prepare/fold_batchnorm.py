"""fold_batchnorm: a BatchNormalization goes into the convolution or Gemm that feeds it.

Before:  Conv(W, b) -> BatchNormalization(gamma, beta, mean, variance)
After:   Conv(W * s, (b - mean) * s + beta)      s = gamma / sqrt(variance + epsilon)
Conv, ConvTranspose (grouped too), Gemm; also into an unpadded Conv that reads it. Exact.
Refuses training mode, spatial=0, and a convolution whose output others read as well.
Decompositions are chosen by the error of the weights, so they want this done first.
onnxscript has such a rule; it computes in the weights' own type, which float16 does not survive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from edgecc.rewrite import Decision, Pass, Room
from passes.prepare.affine import fold


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """BatchNormalization goes into the convolution beside it."""

    name: ClassVar[str] = "fold_batchnorm"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Fold every BatchNormalization that has a convolution beside it."""
        return list(fold(model, frozenset({"BatchNormalization"}), self.name))
