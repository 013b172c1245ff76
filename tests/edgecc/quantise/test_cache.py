"""TensorRT's calibration cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecc.errors import ModelError, UsageError
from edgecc.quantise.cache import read_cache, release_digits, write_cache


@pytest.mark.parametrize(
    ("release", "digits"),
    [("7.1.3", "7103"), ("8.0.1", "8001"), ("8.5.2", "8502"), ("10.3.0", "100300")],
)
def test_releases_in_tensorrts_digits(release: str, digits: str) -> None:
    assert release_digits(release) == digits


def test_the_text_is_what_tensorrt_writes(tmp_path: Path) -> None:
    """`data: 3c008912` stands in the sample of TensorRT 7.0 for inputs from -1 to 1."""
    path = write_cache(tmp_path / "c", {"data": 0.99633787, "a: b": 127.0}, "7.0.0")
    assert path.read_text() == ("TRT-7000-EntropyCalibration2\ndata: 3c008912\na: b: 3f800000\n")


def test_round_trip(tmp_path: Path) -> None:
    amax = {"x": 2.64, "Conv_0_output": 1e-6, "logits": 4000.0}
    digits, scales = read_cache(write_cache(tmp_path / "c", amax, "8.5.2"))
    assert digits == "8502"
    assert {n: s * 127 for n, s in scales.items()} == pytest.approx(amax, rel=1e-6)


def test_what_is_no_cache(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text("")
    with pytest.raises(ModelError, match="no calibration cache"):
        read_cache(path)
    path.write_text("TRT-8502-EntropyCalibration2\nx: many\n")
    with pytest.raises(ModelError, match="'x: many'"):
        read_cache(path)
    with pytest.raises(UsageError, match="no release"):
        write_cache(path, {}, "eight")
