"""Fashion-MNIST as NumPy arrays, from the archives a user has on disk.

A folder holds either `fashion_mnist_train.npz` and `fashion_mnist_test.npz` (arrays `x` and `y`)
or the four files the data set is published as (`train-images-idx3-ubyte.gz` and so on).
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)

Part = Literal["train", "test"]
Bytes = npt.NDArray[np.uint8]
_PUBLISHED_AS = {"train": "train", "test": "t10k"}


def default_folder() -> Path | None:
    """Return the folder that EDGECC_ASSETS names, or None where it is unset or lacks the data."""
    assets = os.environ.get("EDGECC_ASSETS")
    if not assets:
        return None
    folder = Path(assets) / "data" / "fashion_mnist"
    return folder if folder.is_dir() else None


def load(folder: Path, part: Part) -> tuple[Bytes, Bytes]:
    """Read one part of the data set: images (N, 28, 28) and labels (N,), both uint8.

    Raises FileNotFoundError, naming what was looked for, where `folder` holds neither form.
    """
    archive = folder / f"fashion_mnist_{part}.npz"
    if archive.is_file():
        with np.load(archive) as arrays:
            return arrays["x"], arrays["y"]
    images = folder / f"{_PUBLISHED_AS[part]}-images-idx3-ubyte.gz"
    labels = folder / f"{_PUBLISHED_AS[part]}-labels-idx1-ubyte.gz"
    if not (images.is_file() and labels.is_file()):
        raise FileNotFoundError(f"{folder} holds neither {archive.name} nor {images.name}")
    return _read_idx(images, header=16).reshape(-1, 28, 28), _read_idx(labels, header=8)


def _read_idx(path: Path, header: int) -> Bytes:
    return np.frombuffer(gzip.decompress(path.read_bytes()), dtype=np.uint8, offset=header)
