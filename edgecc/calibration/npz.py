"""Samples from an .npz: an array for each input, samples along its first axis."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.calibration.preprocessing import FLAGS, NUMBERS, Preprocessing
from edgecc.calibration.sampling import Found, Sampling
from edgecc.errors import UsageError
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
    there = _names(path, specs)
    chosen = _matched(path, specs, there)
    arrays = _load(path, specs, chosen)
    sizes: dict[str, int] = {}
    for spec in specs:
        _check(spec, arrays[spec.name], sizes)
    counts = {len(array): name for name, array in arrays.items()}
    if len(counts) > 1:
        told = " and ".join(f"{count} of '{name}'" for count, name in counts.items())
        raise UsageError(f"{path.name} has {told}", hint="give every input the same samples")
    available = next(iter(counts))
    indices = sampling.indices(available, path.name)
    ignored = ", ".join(f"'{name}'" for name in there if name not in chosen.values())
    warnings = [f"{path.name} also holds {ignored}: no input, not looked at"] if ignored else []
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


def _writing(specs: tuple[TensorSpec, ...]) -> str:
    wanted = ", ".join(f"{spec.name}=..." for spec in specs)
    return f'numpy.savez("calib.npz", {wanted}) writes one; images are given as their folder'


def _names(path: Path, specs: tuple[TensorSpec, ...]) -> list[str]:
    """The names of the arrays in `path`."""
    hint = _writing(specs)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=hint) from None
    if not start.startswith(b"PK"):
        kind = "a single array (.npy)" if start[1:6] == b"NUMPY" else "no .npz file"
        raise UsageError(f"{path} is {kind}", hint=hint)
    with _readable(path, hint), zipfile.ZipFile(path) as members:
        names = [name.removesuffix(".npy") for name in members.namelist()]
    if not names:
        raise UsageError(f"{path.name} is empty", hint=hint)
    return names


def _matched(path: Path, specs: tuple[TensorSpec, ...], there: list[str]) -> dict[str, str]:
    """Return by input the name of its array; the only array is for the only input."""
    if len(specs) == len(there) == 1:
        return {specs[0].name: there[0]}
    names = {spec.name for spec in specs}
    if missing := sorted(names - set(there)):
        unknown = sorted(set(there) - names)
        instead = f"; it has {', '.join(unknown)}" if unknown else ""
        raise UsageError(
            f"{path.name} has no array for the input '{missing[0]}'{instead}",
            hint="the network takes " + ", ".join(map(str, specs)),
        )
    return {spec.name: spec.name for spec in specs}


def _load(path: Path, specs: tuple[TensorSpec, ...], chosen: dict[str, str]) -> Arrays:
    """Read the chosen arrays, by input."""
    hint = _writing(specs)
    with _readable(path, hint), zipfile.ZipFile(path) as members:
        sizes = {m.filename.removesuffix(".npy"): m.file_size for m in members.infolist()}
    size_bytes = sum(sizes[name] for name in chosen.values())
    if size_bytes > MEMORY_BYTES // 2:
        raise UsageError(
            f"{path.name} has {size_bytes / 1e9:.1f} GB of arrays; this machine has "
            f"{MEMORY_BYTES / 1e9:.1f} GB of memory",
            hint=_ENOUGH,
        )
    with _readable(path, hint), np.load(path, allow_pickle=False) as loaded:
        arrays: Arrays = {name: loaded[stored] for name, stored in chosen.items()}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise UsageError(f"{path.name} has '{chosen[name]}', which is no array", hint=hint)
    return arrays


@contextlib.contextmanager
def _readable(path: Path, hint: str) -> Iterator[None]:
    """Turn what the parsers of numpy and zipfile raise, whatever they stumble over, into one."""
    try:
        yield
    except Exception as error:
        raise UsageError(f"cannot read the arrays in {path}: {error}", hint=hint) from None


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
