"""The samples that activations are looked at with: the user's own, or synthetic ones."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.calibration.images import read_images
from edgecc.calibration.npz import read_npz
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.calibration.sampling import Sampling
from edgecc.calibration.synthetic import make_samples
from edgecc.errors import UsageError
from edgecc.target import Arrays, TensorSpec

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class CalibrationData:
    """Samples for a network's inputs, in the order they were given."""

    name: str
    """What it is in words: "calib.npz", "photos/ (64 images)", "synthetic"."""
    sha256: str
    """Of the samples and of the preprocessing, wherever they lie."""
    arrays: Arrays
    """By input: (N, ...), the first axis is the network's batch axis."""
    warnings: tuple[str, ...] = ()
    """What the user should look at, in sentences."""

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.arrays.values())))

    def batches(self, size: int) -> Iterator[Arrays]:
        """Return `size` samples after the other; the last ones may be fewer.

        Errors: `ValueError` for a size below 1.
        """
        if size < 1:
            raise ValueError(f"batches of {size} samples")
        for start in range(0, self.count, size):
            yield {name: array[start : start + size] for name, array in self.arrays.items()}

    def summary(self) -> str:
        """Return what the numbers look like, in a line."""
        samples = "1 sample" if self.count == 1 else f"{self.count} samples"
        inputs = (f"{name}: {_figures(array)}" for name, array in self.arrays.items())
        return f"{samples} of {'; '.join(inputs)}"


def read_calibration(
    source: str | Path,
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing,
    *,
    limit: int = 256,
) -> CalibrationData:
    """Read, or make, at most `limit` samples for inputs of `specs`.

    `source` is "synthetic", an .npz with an array for each input, or a folder of images. Samples
    are taken evenly from all that are there, in multiples of a fixed batch (at least one batch,
    be it above `limit`).
    Errors: `edgecc.errors.UsageError`.
    """
    _check_types(specs)
    sampling = Sampling.of(specs, limit)
    path = Path(source)
    if source == SYNTHETIC:
        samples = make_samples(specs, preprocessing, sampling)
    elif os.path.isdir(path):
        samples = read_images(path, specs, preprocessing, sampling)
    elif os.path.exists(path):
        samples = read_npz(path, specs, preprocessing, sampling)
    else:
        raise UsageError(
            f"there is nothing at {source} to calibrate with",
            hint=f"give --calib an .npz file, a folder of images, or '{SYNTHETIC}'",
        )
    warnings = (*samples.warnings, *_check(samples.arrays))
    ordered = {spec.name: samples.arrays[spec.name] for spec in specs}
    return CalibrationData(samples.name, _digest(ordered, preprocessing), ordered, warnings)


def _check_types(specs: tuple[TensorSpec, ...]) -> None:
    if not specs:
        raise UsageError("the network has no inputs", hint="it has nothing to calibrate")
    for spec in specs:
        try:
            known = np.dtype(spec.dtype).kind in "biuf"
        except TypeError:  # a type of ONNX that numpy does not have
            known = False
        if not known:
            raise UsageError(
                f"input '{spec.name}' takes {spec.dtype}, which cannot be calibrated",
                hint="whole numbers, float16, float32 and float64 can",
            )


def _check(arrays: Arrays) -> tuple[str, ...]:
    """Refuse samples that say nothing of what the network sees; return what is odd."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(
                f"input '{name}' has numbers that {array.dtype} cannot hold",
                hint="scale them to what the network was trained on",
            )
    constant = {name: array.flat[0] for name, array in arrays.items() if array.min() == array.max()}
    told = [f"every number of the input '{name}' is {value}" for name, value in constant.items()]
    if len(constant) == len(arrays):
        raise UsageError(
            f"{told[0]}: that says nothing of what the network sees",
            hint="give samples of what it is used on",
        )
    count = len(next(iter(arrays.values())))
    if count > 1 and all(_repeats(array) for array in arrays.values()):
        raise UsageError(
            f"all {count} samples are the same", hint="give different ones, or a single one"
        )
    return tuple(told)


def _repeats(array: npt.NDArray[Any]) -> bool:
    return all(np.array_equal(array[0], sample) for sample in array[1:])


def _digest(arrays: Arrays, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(preprocessing.model_dump_json().encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _figures(array: npt.NDArray[Any]) -> str:
    total = squares = 0.0
    for sample in array:  # float64 for one sample at a time
        exact = sample.astype(np.float64)
        total += float(exact.sum())
        squares += float(np.square(exact).sum())
    mean = total / array.size
    deviation = math.sqrt(max(squares / array.size - mean**2, 0.0))
    low, high = float(array.min()), float(array.max())
    return f"{low:.3g} to {high:.3g}, mean {mean:.3g}, deviation {deviation:.3g}"
