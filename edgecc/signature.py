"""What a network takes and gives: names, types and sizes, and arrays that are made to fit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.errors import UsageError

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: numpy's name of the type, and sizes (a name or None is dynamic)."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    @property
    def is_static(self) -> bool:
        """Whether every size is a number."""
        return all(isinstance(size, int) for size in self.shape)

    def __str__(self) -> str:
        sizes = "x".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype} {sizes or 'scalar'}"


def checked_inputs(specs: tuple[TensorSpec, ...], given: Mapping[str, npt.ArrayLike]) -> Arrays:
    """Return `given` as arrays of exactly the types and shapes that `specs` ask for.

    Numbers are converted only where nothing is lost (Python lists, float64 to float32).
    Errors: `edgecc.errors.UsageError`.
    """
    wanted = {spec.name: spec for spec in specs}
    for name in [*wanted.keys() - given.keys(), *given.keys() - wanted.keys()]:
        problem = "is missing" if name in wanted else "is not one of the network's"
        raise UsageError(f"input '{name}' {problem}", hint="it takes " + ", ".join(map(str, specs)))
    return {name: _checked(spec, given[name]) for name, spec in wanted.items()}


def _checked(spec: TensorSpec, value: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(value)
    same_kind = np.can_cast(array.dtype, np.dtype(spec.dtype), casting="same_kind")
    fits = array.ndim == len(spec.shape) and all(
        not isinstance(size, int) or size == given
        for size, given in zip(spec.shape, array.shape, strict=True)
    )
    if not (same_kind and fits):
        sizes = "x".join(map(str, array.shape)) or "scalar"
        raise UsageError(
            f"input '{spec.name}' is given as {array.dtype} {sizes}", hint=f"it takes {spec}"
        )
    with np.errstate(over="ignore"):
        converted = np.asarray(array, dtype=spec.dtype, order="C")
    exact = np.array_equal(converted, array) or (
        converted.dtype.kind == "f" and np.array_equal(np.isfinite(converted), np.isfinite(array))
    )
    if not exact:
        raise UsageError(f"input '{spec.name}' has numbers that {spec.dtype} cannot hold")
    return converted
