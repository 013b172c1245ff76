"""Activations by name and batch, in memory up to a limit and in files beyond it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

Batches = Sequence[Any]
"""One value's arrays, a batch each; of a value that is a sequence of tensors, lists of arrays."""


class Lazy(Sequence[Any]):
    """Batches computed from those of other values each time one is looked at, never all at once."""

    def __init__(self, compute: Callable[..., Any], *sources: Batches) -> None:
        self._compute, self._sources = compute, sources

    def __len__(self) -> int:
        return len(self._sources[0])

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Batches: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Lazy(self._compute, *(source[index] for source in self._sources))
        return self._compute(*(source[index] for source in self._sources))


class Store:
    """What a network computed, by the name of the value.

    Files are opened when they are looked at and not held open: there may be thousands.
    """

    def __init__(self, scratch: Path, limit_bytes: int) -> None:
        self._scratch, self._limit = scratch, limit_bytes
        self._held: dict[str, list[Any]] = {}
        self._bytes = 0
        self._files = 0

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def __getitem__(self, name: str) -> Batches:
        return Lazy(_opened, self._held[name])

    def names(self) -> list[str]:
        """What it holds."""
        return list(self._held)

    def put(self, name: str, found: Any) -> None:
        """Append a batch of the value `name`: an array, or the list of a sequence's arrays."""
        item: Any = found if isinstance(found, list) else np.asarray(found)
        size_bytes = _bytes_of(item)
        if self._bytes + size_bytes > self._limit and _fits_a_file(item):
            self._files += 1
            path = self._scratch / f"{id(self)}-{self._files}.npy"
            np.save(path, item)
            item = path
        else:
            self._bytes += size_bytes
        self._held.setdefault(name, []).append(item)

    def drop(self, name: str) -> None:
        """Forget a value."""
        for item in self._held.pop(name, []):
            if isinstance(item, Path):
                item.unlink(missing_ok=True)
            else:
                self._bytes -= _bytes_of(item)


def _opened(item: Any) -> Any:
    return np.load(item, mmap_mode="r") if isinstance(item, Path) else item


def _fits_a_file(item: Any) -> bool:
    """Neither sequences of tensors nor strings do; both are rare, and small."""
    return isinstance(item, np.ndarray) and not item.dtype.hasobject


def _bytes_of(item: Any) -> int:
    arrays = item if isinstance(item, list) else [item]
    return sum(int(np.asarray(array).nbytes) for array in arrays)
