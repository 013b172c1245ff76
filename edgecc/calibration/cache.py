"""Keeps the statistics of a network under the digest of all that they follow from."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgecc.calibration.statistics import Statistics, precision
from edgecc.conv import Array

LIMIT_BYTES = 4_000_000_000
FORM = "3"
"""Changes when the same samples would give other statistics."""


def cache_folder() -> Path:
    """Return edgecc's folder in the user's cache (`$XDG_CACHE_HOME` or `~/.cache`)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "edgecc"


class StatisticsCache:
    """The statistics of one network on one set of samples, a file a layer.

    They count once every layer is there. What cannot be written is not kept, and nothing else
    happens: a full disk is no reason to fail.
    """

    def __init__(self, *digests: str) -> None:
        key = hashlib.sha256("\n".join([FORM, *digests]).encode()).hexdigest()[:32]
        self._home = cache_folder() / "statistics"
        self._folder = self._home / key
        self._staging: Path | None = None
        self._failed = False

    @property
    def complete(self) -> bool:
        """Whether every layer is there."""
        return self._folder.is_dir()

    def get(self, index: int) -> Statistics | None:
        """Return the statistics of the layer with this number, None where they cannot be read."""
        try:
            os.utime(self._folder)
            path = self._folder / f"{index}.npz"
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                mean, packed, patches = file["mean"], file["covariance"], int(file["patches"])
                passed = file["passed"]
            covariance = _unpacked(packed, mean.shape[1])
            return Statistics(mean, covariance, patches, passed if passed.size else None)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            shutil.rmtree(self._folder, ignore_errors=True)
            return None

    def put(self, index: int, statistics: Statistics) -> None:
        """Keep the statistics of a layer until `finish`."""
        if self._failed:
            return
        try:
            if self._staging is None:
                self._home.mkdir(parents=True, exist_ok=True)
                self._staging = Path(tempfile.mkdtemp(prefix="new-", dir=self._home))
            np.savez(
                self._staging / f"{index}.npz",
                mean=statistics.mean,
                covariance=_packed(statistics),
                patches=statistics.patches,
                passed=np.empty(0) if statistics.passed is None else statistics.passed,
            )
        except OSError:
            self.abandon()
            self._failed = True

    def finish(self) -> None:
        """Every layer is there: put them in their place, and drop the oldest beyond the limit."""
        if self._staging is None:
            return
        try:
            if not self._folder.exists():
                self._staging.rename(self._folder)
                _drop_oldest(self._home, spare=self._folder)
        except OSError:
            pass
        self.abandon()

    def abandon(self) -> None:
        """Forget what was put and not finished."""
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None
        self._failed = False


def _packed(statistics: Statistics) -> Array:
    """The upper triangles of the covariance (G, d*(d+1)/2), float32."""
    assert statistics.covariance is not None
    rows, columns = np.triu_indices(statistics.covariance.shape[-1])
    return statistics.covariance[:, rows, columns].astype(np.float32)


def _unpacked(triangles: Array, size: int) -> Array:
    covariance = np.empty((len(triangles), size, size), precision(size))
    rows, columns = np.triu_indices(size)
    covariance[:, rows, columns] = triangles
    covariance[:, columns, rows] = triangles
    return covariance


def _drop_oldest(home: Path, spare: Path) -> None:
    folders = sorted((f for f in home.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
    sizes = {folder: _size(folder.iterdir()) for folder in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= LIMIT_BYTES:
            return
        if folder != spare:
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
