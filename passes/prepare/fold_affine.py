"""fold_affine: chains of Mul, Add, Sub, Div and BatchNormalization go into a convolution.

Before:  Conv(W, b) -> Mul(k) -> Add(c)          k, c: one number, or one for each channel
After:   Conv(W * k, b * k + c)
Behind a Conv, ConvTranspose or Gemm; before a Conv too (a shift only where it has no padding).
Exact. Refuses constants that vary by position, and values that others read as well.
onnxscript has such a rule; it takes single numbers only, and only where a bias exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from edgecc.rewrite import Decision, Pass, Room
from passes.prepare.affine import fold


@dataclass(frozen=True)
class FoldAffine(Pass):
    """Channel-wise arithmetic goes into the convolution beside it."""

    name: ClassVar[str] = "fold_affine"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Fold until nothing moves."""
        kinds = frozenset({"Mul", "Add", "Sub", "Div", "BatchNormalization"})
        return list(fold(model, kinds, self.name))
