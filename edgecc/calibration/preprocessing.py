"""From pixels of 0 to 255 to the numbers that a network was trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from edgecc.errors import UsageError, did_you_mean
from edgecc.target import TensorSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Layout = Literal["NCHW", "NHWC"]
FLAGS = "--image-scale, --image-mean and --image-std, or --preprocess FILE.toml"
ONE_BYTE = 1 / 255
NUMBERS = frozenset({"scale", "mean", "std"})
"""The options that change numbers; the others are about pictures."""


def _listed(value: Any) -> Any:
    """Take 0.5 for (0.5,), and the "0.5,0.4,0.3" of a command line for its numbers."""
    if isinstance(value, str):
        return value.split(",")
    return (value,) if isinstance(value, int | float) else value


Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Preprocessing(BaseModel):
    """What happens to pixels of 0 to 255: `(pixel * scale - mean) / std`. Also a TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: Positive = 1.0
    """0.00392156862745098 brings pixels to 0 to 1."""
    mean: Annotated[tuple[Number, ...], BeforeValidator(_listed)] = ()
    """In units of the scaled pixels; one number for each channel as the network orders them, or one
    for all."""
    std: Annotated[tuple[Positive, ...], BeforeValidator(_listed)] = ()
    channels: Literal["RGB", "BGR", "grey"] | None = None
    """None is RGB for three channels (RGBA for four) and grey for one."""
    layout: Layout | None = None
    """None is what the sizes of the input show."""
    resize: Literal["crop", "stretch"] = "crop"
    """Crop: the largest part from the middle with the right proportions, brought to size."""

    @classmethod
    def read(cls, path: Path) -> Preprocessing:
        """Read a TOML file. Errors: `edgecc.errors.UsageError`."""
        return cls.of(path)

    @classmethod
    def of(cls, file: Path | None, **flags: object) -> Preprocessing:
        """Read a TOML file, if any; flags that are not None stand above it.

        Errors: `edgecc.errors.UsageError`.
        """
        flags = {name: value for name, value in flags.items() if value is not None}
        try:
            return cls.model_validate({**(_read(file) if file else {}), **flags})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            where = f"--image-{name}" if name in flags else f"the preprocessing {file}: {name}"
            if first["type"] == "extra_forbidden":
                hint = did_you_mean(name, cls.model_fields)
                raise UsageError(f"{where} is not an option", hint=hint) from None
            hint = _HINTS.get(name) or first["msg"].replace("Input should", "it should")
            raise UsageError(f"{where} cannot be {first['input']!r}", hint=hint) from None

    @property
    def given(self) -> bool:
        """Whether anything was set, be it to its default."""
        return bool(self.model_fields_set)

    @property
    def gives_numbers(self) -> bool:
        """Whether the user said what range of numbers the network takes."""
        return bool(self.model_fields_set & NUMBERS)

    def inputs_of(self, specs: tuple[TensorSpec, ...]) -> set[str]:
        """Return the inputs whose numbers it is for: floats of rank 4.

        Errors: `edgecc.errors.UsageError` where it gives numbers, and there are none.
        """
        names = {s.name for s in specs if len(s.shape) == 4 and np.dtype(s.dtype).kind == "f"}
        if self.gives_numbers and not names:
            raise UsageError(
                "scale, mean and std are for float inputs of rank 4; the network takes "
                + ", ".join(map(str, specs)),
                hint="leave them away, and give an .npz with the numbers as the network takes them",
            )
        return names

    def layout_of(self, spec: TensorSpec) -> Layout | None:
        """Return where an input of rank 4 has its channels; None where its sizes do not show it."""
        if self.layout is not None:
            return self.layout
        for wanted in ((1, 3), (4,)):
            first, last = spec.shape[1] in wanted, spec.shape[3] in wanted
            if first != last:
                return "NCHW" if first else "NHWC"
        fixed = tuple(isinstance(size, int) for size in spec.shape[1:])
        shown: dict[tuple[bool, ...], Layout]
        shown = {(True, False, False): "NCHW", (False, False, True): "NHWC"}
        return shown.get(fixed)

    def apply(self, values: npt.NDArray[Any], spec: TensorSpec, axis: int = 1) -> npt.NDArray[Any]:
        """Return `(values * scale - mean) / std` in the type of `spec`; channels lie on `axis`.

        Errors: `edgecc.errors.UsageError` where mean or std do not fit the channels.
        """
        dtype = np.dtype(spec.dtype)
        with np.errstate(over="ignore"):
            result = values.astype(np.promote_types(dtype, np.float32), order="C")
            result *= self.scale
            if self.mean:
                result -= _along("mean", self.mean, result, axis)
            if self.std:
                result /= _along("std", self.std, result, axis)
            return result.astype(dtype, copy=False)

    def from_pixels(
        self, pixels: npt.NDArray[np.uint8], spec: TensorSpec, axis: int
    ) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
        """Return pixels as numbers for `spec`, and what the user should look at.

        Numbers of 0 to 1 where no range was given; an input of whole numbers gets the pixels.
        Errors: `edgecc.errors.UsageError`.
        """
        if np.dtype(spec.dtype).kind != "f":
            if self.gives_numbers or spec.dtype in ("bool", "int8"):
                raise UsageError(
                    f"input '{spec.name}' takes {spec.dtype}, which cannot hold scaled pixels",
                    hint="give an .npz with the numbers as the network takes them",
                )
            return pixels.astype(spec.dtype), ()
        if not self.gives_numbers:
            return self.model_copy(update={"scale": ONE_BYTE}).apply(pixels, spec, axis), (
                f"input '{spec.name}' is given numbers from 0 to 1, which is a guess: say with "
                f"{FLAGS} what the network was trained on (--image-scale 1: 0 to 255)",
            )
        largest = max((*self.mean, *self.std), default=0)
        doubt = "scale" not in self.model_fields_set and 0 < largest <= 1
        warning = (
            f"--image-mean and --image-std look like numbers for pixels of 0 to 1, but pixels are "
            f"0 to 255: add --image-scale {ONE_BYTE}"
        )
        return self.apply(pixels, spec, axis), (warning,) if doubt else ()


_HINTS = {
    "scale": f"it multiplies pixels of 0 to 255; {ONE_BYTE} brings them to 0 to 1",
    "mean": "one number for each channel, or one for all: 0.485,0.456,0.406",
    "std": "one number above 0 for each channel, or one for all: 0.229,0.224,0.225",
}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = error.strerror
    except ValueError as error:  # not UTF-8, not TOML
        problem = str(error)
    raise UsageError(
        f"cannot read the preprocessing {path}: {problem}",
        hint="it is a TOML file: scale = 0.0039, mean = [0.485, 0.456, 0.406]",
    )


def _along(
    name: str, numbers: tuple[float, ...], values: npt.NDArray[Any], axis: int
) -> npt.NDArray[Any]:
    """Return one number for each channel, shaped to be broadcast over `values`."""
    if len(numbers) not in (1, values.shape[axis]):
        raise UsageError(
            f"the {name} has {len(numbers)} numbers; the input has {values.shape[axis]} channels",
            hint="give one for each channel, or one for all",
        )
    shape = [1] * values.ndim
    shape[axis] = len(numbers)
    return np.asarray(numbers, dtype=values.dtype).reshape(shape)
