from __future__ import annotations

from pathlib import Path

import pytest
from tensorrt_board import VERSIONS, Board

from targets.tensorrt.device import version


@pytest.mark.parametrize(
    ("digits", "expected"),
    [("8502", "8.5.2"), ("8001", "8.0.1"), ("9200", "9.2.0"), ("100300", "10.3.0")],
)
def test_the_length_of_the_number_says_how_it_is_read(digits: str, expected: str) -> None:
    assert version.decode(digits) == expected


def test_a_banner_tells_the_version_but_for_7() -> None:
    assert version.of_banner("&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # a") == "8.5.2"
    assert version.of_banner("&&&& RUNNING TensorRT.trtexec # a [TensorRT v8502]") is None
    assert version.of_banner("command not found") is None


def test_packages_tell_it_too() -> None:
    listed = """\
ii  libnvinfer-bin     8.5.2-1+cuda11.4    arm64  TensorRT binaries
ii  libnvinfer-plugin8 8.5.2-1+cuda11.4    arm64  TensorRT plugin libraries
ii  libnvinfer8        8.5.2-1+cuda11.4    arm64  TensorRT runtime libraries
ii  tensorrt           8.5.2.2-1+cuda11.4  arm64  Meta package for TensorRT
"""
    assert version.of_packages(listed) == "8.5.2"
    assert version.of_packages("tensorrt\t10.3.0.30-1+cuda12.5\n") == "10.3.0"
    assert version.of_packages("ii  libcudnn8 8.6.0.166-1+cuda11.4 arm64\n") is None
    assert version.short("7.1.3-1+cuda10.2") == "7.1.3"
    assert version.short(None) is None


@pytest.mark.parametrize("release", ["7.1.3", "8.5.2", "10.3.0"])
def test_trtexec_itself_is_asked(board: Board, release: str) -> None:
    told = version.ask(board.put(release).trtexec)
    assert told == (None if release == "7.1.3" else release)


def test_trtexec_is_found_where_jetpack_puts_it_or_on_the_path(
    board: Board, tmp_path: Path
) -> None:
    board.put("8.5.2")
    assert version.locate(str(board.root), {}) == board.trtexec
    folder = str(Path(board.trtexec).parent)
    assert version.locate(str(tmp_path / "bare"), {"PATH": folder}) == board.trtexec
    assert version.locate(str(tmp_path / "bare"), {"PATH": "/nowhere"}) is None
    assert version.ask("/nowhere/trtexec") is None


def test_newest_opsets() -> None:
    assert [version.newest_opset(v) for v in VERSIONS] == [11, 13, 13, 17, 17, 17, 20]
    assert version.newest_opset("6.0.1") is None
