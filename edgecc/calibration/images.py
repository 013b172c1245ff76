"""Samples from a folder of pictures: opened, brought to size, ordered as the network wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecc.calibration.picture import MODES, Frame, read_picture, size_of
from edgecc.calibration.preprocessing import Layout, Preprocessing
from edgecc.calibration.sampling import Found, Sampling
from edgecc.errors import UsageError
from edgecc.shapes import MEMORY_BYTES
from edgecc.target import TensorSpec

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
GRANULE = 8
"""Networks of open size halve it a few times."""


def read_images(
    folder: Path, specs: tuple[TensorSpec, ...], preprocessing: Preprocessing, sampling: Sampling
) -> Found:
    """Read the pictures in `folder`, not those in the folders inside it.

    Transparency is dropped, 16 bits become 8, and a camera's orientation is followed.
    Errors: `edgecc.errors.UsageError`.
    """
    spec = _image_input(specs)
    layout = _layout(spec, preprocessing)
    channels = _channels(spec, layout, preprocessing)
    files = _files(folder)
    found = folder.resolve().name
    indices = sampling.indices(len(files), f"{found}/")
    taken = [files[index] for index in indices]
    frame, told = _frame(found, taken, spec, layout, preprocessing)
    pixels = _empty(len(taken), frame, channels)
    for file, place in zip(taken, pixels, strict=True):
        place[...] = read_picture(file, frame, channels)
    if preprocessing.channels == "BGR":
        pixels[..., :3] = pixels[..., 2::-1].copy()
    axis = 3
    if layout == "NCHW":
        pixels, axis = pixels.transpose(0, 3, 1, 2), 1
    array, doubts = preprocessing.from_pixels(pixels, spec, axis)
    many = f"{len(taken)}" if len(taken) == len(files) else f"{len(taken)} of {len(files)}"
    name = f"{found}/ ({many} {'image' if len(files) == 1 else 'images'})"
    return Found(name, {spec.name: np.ascontiguousarray(array)}, (*told, *doubts))


def _image_input(specs: tuple[TensorSpec, ...]) -> TensorSpec:
    takes = "the network takes " + ", ".join(map(str, specs))
    hint = "give an .npz with an array for each input"
    if len(specs) > 1:
        raise UsageError(f"a folder of images is for a network with one input; {takes}", hint=hint)
    if len(specs[0].shape) != 4:
        raise UsageError(f"a folder of images is for an input of rank 4; {takes}", hint=hint)
    return specs[0]


def _layout(spec: TensorSpec, preprocessing: Preprocessing) -> Layout:
    layout = preprocessing.layout_of(spec)
    if layout is None:
        sizes = (spec.shape[1], spec.shape[3])
        if all(isinstance(size, int) and size not in MODES for size in sizes):
            raise UsageError(
                f"{spec} is no image: it has neither 1, 3 nor 4 channels",
                hint="give an .npz with the numbers as the network takes them",
            )
        raise UsageError(
            f"{spec} does not show which axis has the channels",
            hint='write layout = "NCHW" or "NHWC" into a file for --preprocess',
        )
    return layout


def _channels(spec: TensorSpec, layout: str, preprocessing: Preprocessing) -> int:
    """Return the number of channels, if pictures can be brought to it."""
    size, given = spec.shape[layout.index("C")], preprocessing.channels
    if not isinstance(size, int):
        if given is None:
            raise UsageError(
                f"{spec} leaves its channels open", hint="say --image-channels RGB, BGR or grey"
            )
        return 1 if given == "grey" else 3
    if size not in MODES:
        raise UsageError(
            f"{spec} is no image: it has {size} channels",
            hint="give an .npz with the numbers as the network takes them",
        )
    if given is not None and (given == "grey") != (size == 1):
        fitting = "grey" if size == 1 else "RGB or BGR"
        raise UsageError(
            f"pictures in {given} do not fit {spec}, which has {size} channels",
            hint=f"say --image-channels {fitting}, or nothing",
        )
    return size


def _files(folder: Path) -> list[Path]:
    try:
        there = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise UsageError(
            f"cannot read the folder {folder}: {error.strerror}", hint="look who may read it"
        ) from None
    files = [path for path in there if path.suffix.lower() in SUFFIXES and path.is_file()]
    if files:
        return files
    names = [path.name + "/" * path.is_dir() for path in there]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    raise UsageError(
        f"{folder} has no images, but {', '.join(names[:5]) or 'nothing'}{more}",
        hint=f"images are {', '.join(SUFFIXES)} in the folder itself, not in folders inside it",
    )


def _frame(
    found: str, files: list[Path], spec: TensorSpec, layout: str, preprocessing: Preprocessing
) -> tuple[Frame, tuple[str, ...]]:
    """Return the input's own size; where it is open, that of the pictures, and what to look at."""
    height, width = (spec.shape[layout.index(axis)] for axis in "HW")
    if isinstance(height, int) and isinstance(width, int):
        return Frame(width, height, preprocessing.resize), ()
    if isinstance(height, int) or isinstance(width, int):
        raise UsageError(f"{spec} leaves one of height and width open", hint="fix it with --shape")
    sizes = {size_of(file) for file in files}
    if len(sizes) == 1:
        return Frame(*sizes.pop(), "cut"), ()
    least = min(w for w, _ in sizes), min(h for _, h in sizes)
    if min(least) < GRANULE:
        raise UsageError(
            f"the smallest images in {found}/ have {least[0]}x{least[1]} pixels: too few to cut "
            "all to one size",
            hint="remove them, or fix a size with --shape",
        )
    width, height = (size // GRANULE * GRANULE for size in least)
    told = (
        f"the images in {found}/ differ in size: of each the middle is taken, {width}x{height} "
        "pixels (--shape fixes a size to scale them to)"
    )
    return Frame(width, height, "cut"), (told,)


def _empty(count: int, frame: Frame, channels: int) -> npt.NDArray[np.uint8]:
    """Return room for the pixels, (N, H, W, C), if it and their float32 fit the memory."""
    size_bytes = count * frame.height * frame.width * channels * 5
    if size_bytes > MEMORY_BYTES // 4:
        raise UsageError(
            f"{count} images of {frame.width}x{frame.height} pixels take {size_bytes / 1e9:.1f} GB"
            f"; this machine has {MEMORY_BYTES / 1e9:.1f} GB of memory",
            hint="fix a smaller size with --shape, or give fewer images",
        )
    return np.empty((count, frame.height, frame.width, channels), np.uint8)
