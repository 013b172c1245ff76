"""One picture: opened whatever its kind, and brought to a frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgecc.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "PPM", "WEBP", "GIF")
"""What a file may turn out to be (JPEG brings MPO); of Pillow's others, some start programs."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
ORIENTATION = 0x0112
"""EXIF's tag of how a camera was held; from 5 on width and height are swapped."""


class Frame(NamedTuple):
    """What every picture is brought to."""

    width: int
    height: int
    how: Literal["crop", "stretch", "cut"]
    """Cut: the middle, without scaling."""


def read_picture(file: Path, frame: Frame, channels: int) -> npt.NDArray[np.uint8]:
    """Return a picture as (H, W, C), in `MODES[channels]`.

    Transparency is dropped, as training loaders do; 16 bits become 8; a camera's orientation is
    followed. Errors: `edgecc.errors.UsageError`.
    """
    from PIL import Image, ImageOps

    width, height, how = frame
    with _opened(file) as opened:
        if how != "cut":  # a JPEG decodes to a half, a quarter or an eighth for little
            opened.draft(None, (2 * max(width, height), 2 * max(width, height)))
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture = picture.convert(MODES[channels])
        if how == "crop":
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
        elif how == "stretch":
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        else:
            left, top = (picture.width - width) // 2, (picture.height - height) // 2
            picture = picture.crop((left, top, left + width, top + height))
        return np.asarray(picture).reshape(height, width, channels)


def size_of(file: Path) -> tuple[int, int]:
    """Return width and height, the camera's orientation followed.

    Errors: `edgecc.errors.UsageError`.
    """
    with _opened(file) as picture:
        width, height = picture.size
        swapped = picture.getexif().get(ORIENTATION, 1) >= 5
    return (height, width) if swapped else (width, height)


@contextmanager
def _opened(file: Path) -> Iterator[Picture]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of pictures merely large
            with Image.open(file, formats=FORMATS) as picture:
                yield picture
    except Exception as error:  # Pillow's decoders raise what they stumble over
        cause = "it is no image" if isinstance(error, UnidentifiedImageError) else error
        raise UsageError(
            f"cannot read the image {file}: {cause}", hint="remove it, or put it right"
        ) from None
