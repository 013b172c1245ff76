from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from edgecc.calibration.preprocessing import Preprocessing
from edgecc.errors import UsageError
from edgecc.target import TensorSpec

IMAGENET = """
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
channels = "BGR"
layout = "NHWC"
resize = "stretch"
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(IMAGENET)
    return path


def spec(*shape: int | str | None) -> TensorSpec:
    return TensorSpec("x", "float32", shape)


def test_a_file_is_read(toml: Path) -> None:
    assert Preprocessing.read(toml) == Preprocessing(
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        channels="BGR",
        layout="NHWC",
        resize="stretch",
    )


def test_flags_stand_above_the_file(toml: Path) -> None:
    found = Preprocessing.of(toml, scale=1, mean="0.1,0.2, 0.3", std=None, channels="RGB")
    assert (found.scale, found.mean, found.channels) == (1, (0.1, 0.2, 0.3), "RGB")
    assert found.std == (0.229, 0.224, 0.225)


def test_one_number_is_for_every_channel(toml: Path) -> None:
    toml.write_text("mean = 127.5\nstd = 127")
    assert Preprocessing.read(toml) == Preprocessing(mean=(127.5,), std=(127.0,))
    assert Preprocessing.of(None, mean="127.5") == Preprocessing(mean=(127.5,))


def test_it_knows_whether_anything_was_given() -> None:
    assert not Preprocessing().given
    assert not Preprocessing.of(None, scale=None, mean=None).given
    assert Preprocessing(resize="stretch").given
    assert not Preprocessing(resize="stretch").gives_numbers
    for given in ({"scale": 1.0}, {"mean": 0.5}, {"std": 0.5}):
        assert Preprocessing.of(None, **given).gives_numbers
        assert Preprocessing.of(None, **given).given


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Preprocessing().scale = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scal = 1", "p.toml: scal is not an option\n  hint: did you mean scale?"),
        ("scale = 0", "p.toml: scale cannot be 0\n  hint: it multiplies"),
        ("scale = inf", "p.toml: scale cannot be inf"),
        ("scale = 'a'", "p.toml: scale cannot be 'a'"),
        ("mean = [0.5, 'a']", "p.toml: mean cannot be 'a'\n  hint: one number for each channel"),
        ("mean = nan", "p.toml: mean cannot be nan"),
        ("std = [0.5, 0.0]", "p.toml: std cannot be 0.0\n  hint: one number above 0"),
        ("std = -1", "p.toml: std cannot be -1"),
        ("channels = 'rgb'", "channels cannot be 'rgb'\n  hint: it should be 'RGB', 'BGR' or"),
        ("layout = 'HWC'", "layout cannot be 'HWC'\n  hint: it should be 'NCHW' or 'NHWC'"),
        ("resize = 'pad'", "resize cannot be 'pad'\n  hint: it should be 'crop' or 'stretch'"),
        ("scale 1", "cannot read the preprocessing"),
        ("scale = 1\nscale = 2", "cannot read the preprocessing"),
    ],
)
def test_files_that_cannot_be_followed(toml: Path, text: str, message: str) -> None:
    toml.write_text(text)
    with pytest.raises(UsageError) as caught:
        Preprocessing.read(toml)
    assert message in str(caught.value)
    assert caught.value.hint


def test_files_that_cannot_be_read(toml: Path, tmp_path: Path) -> None:
    toml.write_bytes(b"scale = \xff")
    for path in (toml, tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(UsageError, match="cannot read the preprocessing") as caught:
            Preprocessing.read(path)
        assert caught.value.hint


def test_flags_are_called_by_their_names() -> None:
    with pytest.raises(UsageError, match=r"--image-std cannot be '0'"):
        Preprocessing.of(None, std="0.2,0,0.2")
    with pytest.raises(UsageError, match="--image-channels cannot be 'CMYK'"):
        Preprocessing.of(None, channels="CMYK")


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (("N", 3, 224, 224), "NCHW"),
        ((1, 224, 224, 3), "NHWC"),
        ((1, 1, 28, 28), "NCHW"),
        ((1, 28, 28, 1), "NHWC"),
        ((1, 4, 64, 64), "NCHW"),
        ((1, 3, 4, 4), "NCHW"),
        ((1, 3, "H", "W"), "NCHW"),
        ((1, "H", None, 3), "NHWC"),
        ((1, 18, "H", "W"), "NCHW"),
        ((1, None, None, 18), "NHWC"),
        ((1, 18, 64, 64), None),
        ((1, 3, 3, 3), None),
        ((1, "C", "H", "W"), None),
    ],
)
def test_the_layout_is_what_the_sizes_show(
    shape: tuple[int | str | None, ...], layout: str | None
) -> None:
    assert Preprocessing().layout_of(spec(*shape)) == layout
    assert Preprocessing(layout="NHWC").layout_of(spec(*shape)) == "NHWC"


@pytest.mark.parametrize("axis", [1, 3])
def test_it_scales_then_takes_the_mean_and_then_the_deviation(axis: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3)).astype(np.uint8)
    by = Preprocessing(scale=0.5, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    shape = (3, 1, 1) if axis == 1 else (3,)
    wanted = (pixels * 0.5 - np.array([1, 2, 3]).reshape(shape)) / np.array([4, 5, 6]).reshape(
        shape
    )
    found = by.apply(pixels, spec("N", 3, 3, 3), axis)
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_numbers_that_do_not_fit_the_channels(name: str) -> None:
    by = Preprocessing.of(None, **{name: (0.1, 0.2)})
    with pytest.raises(UsageError, match=f"the {name} has 2 numbers; the input has 3 channels"):
        by.apply(np.ones((1, 3, 2, 2)), spec(1, 3, 2, 2))


def test_what_the_user_should_look_at() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)

    def told(**given: object) -> tuple[float, tuple[str, ...]]:
        array, warnings = Preprocessing.of(None, **given).from_pixels(
            pixels, spec(1, 3, 2, 2), axis=1
        )
        return float(array.max()), warnings

    largest, (guess,) = told()
    assert largest == pytest.approx(11 / 255, abs=1e-6)
    for flag in ("--image-scale", "--image-mean", "--image-std", "--preprocess FILE.toml"):
        assert flag in guess
    assert told(channels="BGR") == (largest, (guess,))
    assert told(scale=1) == (11, ())
    assert told(mean=(104, 117, 123)) == (3 - 104, ())
    assert told(scale=1 / 255, mean=0.5, std=0.5)[1] == ()
    (doubt,) = told(mean=0.5, std=0.25)[1]
    assert "add --image-scale 0.00392156862745098" in doubt
    assert told(mean=0.5, std=0.25, scale=1)[1] == ()


def test_whole_numbers_are_pixels_or_nothing() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    whole = TensorSpec("x", "uint8", (1, 3, 2, 2))
    array, warnings = Preprocessing().from_pixels(pixels, whole, axis=1)
    assert np.array_equal(array, pixels)
    assert array.dtype == np.uint8
    assert warnings == ()
    with pytest.raises(UsageError, match="takes uint8, which cannot hold scaled pixels"):
        Preprocessing(scale=0.5).from_pixels(pixels, whole, axis=1)
    for dtype in ("int8", "bool"):
        with pytest.raises(UsageError, match=f"takes {dtype}"):
            Preprocessing().from_pixels(pixels, TensorSpec("x", dtype, whole.shape), axis=1)
