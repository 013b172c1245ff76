"""Releases of TensorRT: which of them a version belongs to, and the newest ONNX opset it reads."""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from edgecc.errors import BuildError
from targets.tensorrt.device.version import newest_opset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Number = tuple[int, int]
"""Major and minor: (8, 5)."""


@dataclass(frozen=True)
class Release:
    """One release of TensorRT."""

    name: str
    """As users write it: "8.5", "rtx 1.7"."""
    number: Number
    """What features are compared by; for TensorRT for RTX the TensorRT that its parser is of."""
    opset_max: int
    note: str | None = None
    """Where there is no table of just this release: which one stands for it."""

    def __str__(self) -> str:
        return f"TensorRT for RTX {self.name[4:]}" if self.rtx else f"TensorRT {self.name}"

    @property
    def rtx(self) -> bool:
        """Whether it is TensorRT for RTX, which builds engines without a GPU."""
        return self.name.startswith("rtx ")

    def at_least(self, major: int, minor: int) -> bool:
        """Whether it has what came with TensorRT `major`.`minor`."""
        return self.number >= (major, minor)


TABLES: tuple[Number, ...] = (
    (7, 1), (8, 0), (8, 2), (8, 4), (8, 5), (8, 6), (10, 0), (10, 3), (10, 15),
)  # fmt: skip
"""The releases whose operators are known."""
RTX_OPSET = 24
RTX: Number = (10, 15)
"""TensorRT for RTX 1.x reads what TensorRT 10.15 reads: its parser takes opset 24 and more."""


def release(text: str) -> Release:
    """Return the release that a version, as packages, banners or users have it, belongs to.

    "8.5", "8.5.2", "8.5.2.2-1+cuda11.4", "TensorRT 8.5.2", "rtx 1.7.1", "TensorRT-RTX 1.7". One
    without a table is taken for the nearest older one that has, and says so in its `note`.
    Errors: `edgecc.errors.BuildError` for what is no version, or older than 7.1.
    """
    found = re.search(r"(?<![\d.])(\d{1,3})\.(\d{1,3})(?![\d])", text)
    if found is None:
        raise BuildError(
            f"'{text}' is not a version of TensorRT",
            hint="write it as 8.5.2; on the board 'dpkg -l | grep nvinfer' tells it",
        )
    number = int(found[1]), int(found[2])
    if "rtx" in text.lower():
        return _rtx(number)
    if number < TABLES[0]:
        raise BuildError(
            f"TensorRT {number[0]}.{number[1]} is too old: edgecc knows 7.1 and newer",
            hint="update the board's JetPack; the last for TX2 and Nano is 4.6.x, for Xavier 5.1.x",
        )
    known = max(n for n in TABLES if n <= number)
    name, table = f"{number[0]}.{number[1]}", f"{known[0]}.{known[1]}"
    opset = newest_opset(name)
    assert opset is not None  # it reads all from 7.1 on
    note = None if known == number else f"no table of TensorRT {name} is known: {table}'s is taken"
    return Release(name, number, opset, note)


def first_with(since: Number) -> str:
    """Return the oldest release with what came with `since`, and the first JetPack that has it."""
    name = f"TensorRT {since[0]}.{since[1]}"
    later = [number for number in jetpacks() if number >= since]
    if not later:
        return name
    jetpack = jetpacks()[min(later)]
    if since in jetpacks():
        return f"{name} (JetPack {jetpack})"
    return f"{name} (JetPack {jetpack} has {min(later)[0]}.{min(later)[1]})"


@functools.cache
def jetpacks() -> dict[Number, str]:
    """Return the JetPack that has each release of TensorRT (`targets/jetpacks.toml`)."""
    listed = tomllib.loads((Path(__file__).parent.parent / "jetpacks.toml").read_text())["jetpack"]
    found = {}
    for jetpack in listed:
        major, minor = jetpack["tensorrt"].split(".")[:2]
        found[int(major), int(minor)] = str(jetpack["name"])
    return found


def _rtx(number: Number) -> Release:
    name = f"rtx {number[0]}.{number[1]}"
    note = None if number[0] == 1 else f"no table of TensorRT for RTX {number[0]}: 1.x's is taken"
    return Release(name, RTX, RTX_OPSET, note)
