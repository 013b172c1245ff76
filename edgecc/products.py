"""Work on large matrices on two threads, with the same bits on any number of cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from edgecc.conv import Array

T = TypeVar("T")
U = TypeVar("U")

_POOL = ThreadPoolExecutor(2, thread_name_prefix="edgecc-products")


def product(left: Array, right: Array) -> Array:
    """Return `left @ right` for (..., m, k) and (..., k, n), half of the rows at a time.

    Overflow and what is not a number pass in silence: whoever sums looks at the sum.
    """
    middle = left.shape[-2] // 2
    halves = left[..., :middle, :], left[..., middle:, :]
    return np.concatenate(list(_POOL.map(lambda half: _quiet(half, right), halves)), axis=-2)


def side_by_side(work: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Return what `work` makes of each item, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, items))


def _quiet(left: Array, right: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        found: Array = left @ right
    return found
