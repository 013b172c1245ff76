"""TensorRT's calibration cache: a scale for each activation of the network in float32.

    TRT-8502-EntropyCalibration2
    input: 3caa54ff

The first line names the release (8.5.2) and how TensorRT would have calibrated; then, for each
tensor, the scale (what one step of int8 is worth) as the hexadecimal digits of its float32, the
highest byte first. Read by `trtexec --int8 --calib=FILE` and all of TensorRT up to 10, which then
decides layer by layer whether int8 is faster ("implicit quantisation"); DLA takes int8 only so.
Tensors that its parser makes itself have no line: TensorRT leaves those in float.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

from edgecc.errors import ModelError, UsageError
from edgecc.quantise.thresholds import LEVELS

_FIRST = re.compile(r"TRT-(\d{4,6})-EntropyCalibration2")
_LINE = re.compile(r"(.+): ([0-9a-f]{8})")


def release_digits(release: str) -> str:
    """Return TensorRT's own number of a release: 8.5.2 is 8502, 10.3.0 is 100300.

    Errors: `edgecc.errors.UsageError` for what is no release.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    if found is None:
        raise UsageError(f"'{release}' is no release of TensorRT", hint="write it as 8.5.2")
    major, minor, patch = (int(part or 0) for part in found.groups())
    if major < 10:
        return str(major * 1000 + minor * 100 + patch)
    return str(major * 10000 + minor * 100 + patch)


def write_cache(path: Path, ranges: Mapping[str, float], release: str) -> Path:
    """Write the magnitudes that int8's 127 stands for, by activation, for TensorRT `release`.

    Errors: `edgecc.errors.UsageError` for a release or a name that cannot be written.
    """
    lines = [f"TRT-{release_digits(release)}-EntropyCalibration2"]
    for name, amax in ranges.items():
        if "\n" in name or not name:
            raise UsageError(f"a tensor called {name!r} has no line in a calibration cache")
        lines.append(f"{name}: {struct.pack('>f', amax / LEVELS).hex()}")
    path.write_text("\n".join(lines) + "\n")
    return path


def read_cache(path: Path) -> tuple[str, dict[str, float]]:
    """Return the release's digits and the scale of each tensor, as `write_cache` left them.

    Errors: `edgecc.errors.ModelError` for a file that is none.
    """
    first, *lines = path.read_text().splitlines() or [""]
    head = _FIRST.fullmatch(first)
    if head is None:
        raise ModelError(f"{path} is no calibration cache of TensorRT: it begins with '{first}'")
    scales = {}
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise ModelError(f"{path} has a line that is none of a calibration cache: '{line}'")
        (scales[found[1]],) = struct.unpack(">f", bytes.fromhex(found[2]))
    return head[1], scales
