"""Samples from an .npz: an array for each input, samples along its first axis."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.calibration.preprocessing import FLAGS, NUMBERS, Preprocessing
from edgecc.calibration.sampling import Found, Sampling
from edgecc.errors import UsageError, did_you_mean
from edgecc.shapes import MEMORY_BYTES
from edgecc.target import Arrays, TensorSpec

Array = npt.NDArray[Any]
_ENOUGH = "64 to 256 samples are enough"


def read_npz(
    path: Path, specs: tuple[TensorSpec, ...], preprocessing: Preprocessing, sampling: Sampling
) -> Found:
    """Read the samples in `path`; preprocessing, where given, is for float inputs of rank 4.

    Errors: `edgecc.errors.UsageError`.
    """
    images = _preprocessed(path, specs, preprocessing)
    arrays = _matched(path, specs, _load(path, specs))
    sizes: dict[str, int] = {}
    for spec in specs:
        _check(spec, arrays[spec.name], sizes)
    counts = {len(array): name for name, array in arrays.items()}
    if len(counts) > 1:
        told = " and ".join(f"{count} of '{name}'" for count, name in counts.items())
        raise UsageError(f"{path.name} has {told}", hint="give every input the same samples")
    available = next(iter(counts))
    indices = sampling.indices(available, path.name)
    warnings = []
    for spec in specs:
        array = arrays.pop(spec.name)
        array = array if len(indices) == available else array[indices]
        if spec.name in images:
            arrays[spec.name] = preprocessing.apply(array, spec)
            continue
        if array.dtype.kind in "iu" and np.dtype(spec.dtype).kind == "f":
            warnings += _warn_of_integers(spec, array)
        arrays[spec.name] = _converted(spec, array)
    of = "" if len(indices) == available else f" ({len(indices)} of {available} samples)"
    return Found(path.name + of, arrays, tuple(warnings))


def _preprocessed(
    path: Path, specs: tuple[TensorSpec, ...], preprocessing: Preprocessing
) -> set[str]:
    """Return the inputs that preprocessing is for; refuse what an .npz has no use for."""
    if unused := sorted(preprocessing.model_fields_set - NUMBERS):
        raise UsageError(
            f"{unused[0]} is for pictures; {path.name} has arrays",
            hint="an .npz is read as it is: only scale, mean and std apply to it",
        )
    return preprocessing.inputs_of(specs) if preprocessing.given else set()


def _load(path: Path, specs: tuple[TensorSpec, ...]) -> Arrays:
    wanted = ", ".join(f"{spec.name}=..." for spec in specs)
    hint = f'numpy.savez("calib.npz", {wanted}) writes one; images are given as their folder'
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=hint) from None
    if not start.startswith(b"PK"):
        kind = "a single array (.npy)" if start[1:6] == b"NUMPY" else "no .npz file"
        raise UsageError(f"{path} is {kind}", hint=hint)
    try:
        with zipfile.ZipFile(path) as members:
            size_bytes = sum(member.file_size for member in members.infolist())
        if size_bytes <= MEMORY_BYTES // 2:
            with np.load(path, allow_pickle=False) as loaded:
                arrays: Arrays = {name: loaded[name] for name in loaded.files}
    except Exception as error:  # numpy and zipfile raise what their parsers stumble over
        raise UsageError(f"cannot read the arrays in {path}: {error}", hint=hint) from None
    if size_bytes > MEMORY_BYTES // 2:
        raise UsageError(
            f"{path.name} has {size_bytes / 1e9:.1f} GB of arrays; this machine has "
            f"{MEMORY_BYTES / 1e9:.1f} GB of memory",
            hint=_ENOUGH,
        )
    if foreign := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise UsageError(f"{path.name} has '{foreign[0]}', which is no array", hint=hint)
    if not arrays:
        raise UsageError(f"{path.name} is empty", hint=hint)
    return arrays


def _matched(path: Path, specs: tuple[TensorSpec, ...], arrays: Arrays) -> Arrays:
    """Return the arrays by the name of the input; the only array is for the only input."""
    if len(specs) == len(arrays) == 1:
        return {specs[0].name: next(iter(arrays.values()))}
    names = {spec.name for spec in specs}
    if unknown := sorted(arrays.keys() - names):
        raise UsageError(
            f"{path.name} has an array '{unknown[0]}', which is no input of the network",
            hint=did_you_mean(unknown[0], names),
        )
    if missing := sorted(names - arrays.keys()):
        raise UsageError(
            f"{path.name} has no array for the input '{missing[0]}'",
            hint="the network takes " + ", ".join(map(str, specs)),
        )
    return arrays


def _check(spec: TensorSpec, array: Array, sizes: dict[str, int]) -> None:
    """Refuse an array that is not samples of `spec`; `sizes` are those of open dimensions."""
    if array.dtype.kind not in "biuf":
        raise UsageError(
            f"the array for '{spec.name}' holds {array.dtype}, not numbers",
            hint=f"the network takes {spec}",
        )
    given, rest = "x".join(map(str, array.shape)) or "a scalar", spec.shape[1:]
    shape = "x".join(["N", *("?" if size is None else str(size) for size in rest)])
    if array.ndim == len(rest):
        raise UsageError(
            f"the array for '{spec.name}' is {given}, a sample without an axis of samples",
            hint=f"it takes {shape}: array[numpy.newaxis] makes one sample of it",
        )
    fits = array.ndim == len(spec.shape) and all(
        not isinstance(wanted, int) or wanted == size
        for wanted, size in zip(rest, array.shape[1:], strict=True)
    )
    if not fits:
        raise UsageError(f"the array for '{spec.name}' is {given}", hint=f"it takes {shape}")
    for wanted, size in zip(rest, array.shape[1:], strict=True):
        if isinstance(wanted, str) and sizes.setdefault(wanted, size) != size:
            raise UsageError(
                f"the array for '{spec.name}' is {given}, with {size} for {wanted}; "
                f"elsewhere {wanted} is {sizes[wanted]}",
                hint=f"the network wants the same {wanted} everywhere",
            )
    if array.size == 0:
        raise UsageError(f"the array for '{spec.name}' is {given}: no samples", hint=_ENOUGH)
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        bad = np.argwhere(~finite)
        raise UsageError(
            f"the array for '{spec.name}' has {len(bad)} numbers that are NaN or infinite, the "
            f"first in sample {bad[0][0]}",
            hint="drop those samples",
        )


def _warn_of_integers(spec: TensorSpec, array: Array) -> list[str]:
    low, high = array.min(), array.max()
    if low >= 0 and high <= 1:
        return []
    how = f" If not, scale them: {FLAGS}" if len(spec.shape) == 4 else ""
    return [
        f"input '{spec.name}' is given whole numbers from {low} to {high}: is that what the "
        f"network was trained on?{how}"
    ]


def _converted(spec: TensorSpec, array: Array) -> Array:
    """Return `array` in the type of `spec`; what overflows a float is found by the caller."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array, dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if array.dtype.kind == "f" or int(array.min()) < low or int(array.max()) > high:
        raise UsageError(
            f"the array for '{spec.name}' is {array.dtype}, with numbers that {dtype} cannot hold",
            hint=f"save it as {dtype}",
        )
    return np.ascontiguousarray(array, dtype)
