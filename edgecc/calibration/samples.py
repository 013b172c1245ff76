"""The calibration samples of a build, in the batches that the network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgecc.calibration.data import CalibrationData, read_calibration
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.oracle import specs
from edgecc.target import Arrays

MOST_SAMPLES = 256
BATCH_NUMBERS = 2_500_000
"""Numbers of the inputs in one batch, where the network takes any batch."""
MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Samples:
    """What activations are looked at with."""

    data: CalibrationData
    feeds: Sequence[Arrays]

    @classmethod
    def read(
        cls,
        source: str | Path,
        model: ir.Model,
        preprocessing: Preprocessing,
        limit: int = MOST_SAMPLES,
    ) -> Samples:
        """Read the samples for the inputs of `model`. Errors: `edgecc.errors.UsageError`."""
        wanted = tuple(specs(model))
        data = read_calibration(source, wanted, preprocessing, limit=limit)
        fixed = next((s.shape[0] for s in wanted if isinstance(s.shape[0], int)), None)
        size = max(math.prod(array.shape[1:]) for array in data.arrays.values())
        most = max(1, min(MOST_AT_ONCE, BATCH_NUMBERS // size))
        return cls(data, list(data.batches(fixed if isinstance(fixed, int) else most)))

    def describe(self) -> dict[str, object]:
        """Return plain data for the record."""
        return {
            "name": self.data.name,
            "sha256": self.data.sha256,
            "samples": self.data.count,
            "summary": self.data.summary(),
            "warnings": list(self.data.warnings),
        }
