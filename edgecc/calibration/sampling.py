"""Which of the samples are taken: so many at most, evenly spread, in whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgecc.errors import UsageError
from edgecc.target import Arrays, TensorSpec


class Found(NamedTuple):
    """What a reader found: arrays by input, each (N, ...), in words, and what to look at."""

    name: str
    arrays: Arrays
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How many samples are taken."""

    limit: int
    batch: int
    """The samples that the network takes at a time; 1 where it takes any number."""

    @classmethod
    def of(cls, specs: tuple[TensorSpec, ...], limit: int) -> Sampling:
        """Return the sampling for a network with these inputs.

        Errors: `edgecc.errors.UsageError` for a limit below 1, and for inputs without a common
        batch as their first dimension.
        """
        if limit < 1:
            raise UsageError(f"{limit} samples show nothing", hint="64 to 256 are enough")
        hint = "calibration takes networks whose inputs all have the batch as first dimension"
        if scalars := [spec.name for spec in specs if not spec.shape]:
            raise UsageError(f"input '{scalars[0]}' is a scalar, without a batch", hint=hint)
        fixed = {spec.shape[0]: spec.name for spec in specs if isinstance(spec.shape[0], int)}
        if len(fixed) > 1:
            sizes = " and ".join(f"'{name}' has {size}" for size, name in fixed.items())
            raise UsageError(f"the inputs differ in their first dimension: {sizes}", hint=hint)
        return cls(limit, next(iter(fixed), 1))

    @property
    def most(self) -> int:
        """The most samples that are taken, in whole batches, at least one."""
        return max(self.limit // self.batch, 1) * self.batch

    def indices(self, available: int, source: str) -> npt.NDArray[Any]:
        """Return which of the `available` samples are taken, in order: (N,) int64.

        Errors: `edgecc.errors.UsageError` where they fill no batch.
        """
        count = min(available // self.batch * self.batch, self.most)
        if count == 0:
            raise UsageError(
                f"{source} has {available} {'sample' if available == 1 else 'samples'}; the "
                f"network takes {self.batch} at a time",
                hint=f"give {self.batch} at least, or fix another batch with --shape",
            )
        return np.arange(count) * available // count
