"""Releases of TensorRT as data: the newest ONNX opset that each reads, and where it comes from.

Opsets are from docs/operators.md of onnx-tensorrt, the parser that TensorRT ships, at each
release; JetPacks from NVIDIA's release notes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgecc.errors import BuildError

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


OPSETS: dict[Number, int] = {
    (7, 1): 11,
    (8, 0): 13,
    (8, 2): 13,
    (8, 4): 17,  # the early access release read 13
    (8, 5): 17,
    (8, 6): 17,
    (10, 0): 20,
    (10, 3): 20,
    (10, 15): 24,
}
"""The newest opset by release, where one is known."""
JETPACKS: dict[Number, str] = {
    (7, 1): "JetPack 4.4",
    (8, 0): "JetPack 4.6",
    (8, 2): "JetPack 4.6.1",
    (8, 4): "JetPack 5.0.2",
    (8, 5): "JetPack 5.1",
    (8, 6): "JetPack 6.0",
    (10, 3): "JetPack 6.1",
    (10, 13): "JetPack 7.0",
}
"""The first JetPack with a release."""
RTX: Number = (10, 15)
"""TensorRT for RTX 1.x reads what TensorRT 10.15 reads: its parser takes opset 24 and more."""
OLDEST: Number = (7, 1)


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
    if number < OLDEST:
        raise BuildError(
            f"TensorRT {number[0]}.{number[1]} is too old: edgecc knows 7.1 (JetPack 4.4) and newer",
            hint="update the board's JetPack; the last for TX2 and Nano is 4.6.x, for Xavier 5.1.x",
        )
    known = max(n for n in OPSETS if n <= number)
    name, table = f"{number[0]}.{number[1]}", f"{known[0]}.{known[1]}"
    note = None if known == number else f"no table of TensorRT {name} is known: {table}'s is taken"
    return Release(name, number, OPSETS[known], note)


def first_with(since: Number) -> str:
    """Return the oldest release with what came with `since`, and the first JetPack that has it."""
    name = f"TensorRT {since[0]}.{since[1]}"
    later = [number for number in JETPACKS if number >= since]
    if not later:
        return name
    jetpack = JETPACKS[min(later)]
    if since in JETPACKS:
        return f"{name} ({jetpack})"
    return f"{name} ({jetpack} has {min(later)[0]}.{min(later)[1]})"


def _rtx(number: Number) -> Release:
    name = f"rtx {number[0]}.{number[1]}"
    note = None if number[0] == 1 else f"no table of TensorRT for RTX {number[0]}: 1.x's is taken"
    return Release(name, RTX, OPSETS[RTX], note)
