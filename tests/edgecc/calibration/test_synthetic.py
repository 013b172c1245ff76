from __future__ import annotations

import numpy as np
import pytest

from edgecc.calibration.data import CalibrationData, read_calibration
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.calibration.synthetic import COUNT, OPEN_SIZE, synthetic_images
from edgecc.errors import UsageError
from edgecc.target import TensorSpec

RAW = Preprocessing(scale=1.0)


def spec(*shape: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec("x", dtype, shape)


def make(*specs: TensorSpec, by: Preprocessing = RAW, limit: int = 4) -> CalibrationData:
    return read_calibration("synthetic", specs, by, limit=limit)


def test_images_are_pixels_and_the_same_every_time() -> None:
    images = synthetic_images(3, 3, 24, 40)
    assert images.shape == (3, 3, 24, 40)
    assert images.dtype == np.uint8
    assert np.array_equal(images, synthetic_images(3, 3, 24, 40))
    assert np.array_equal(images[:2], synthetic_images(2, 3, 24, 40))
    assert not np.array_equal(images, synthetic_images(3, 3, 24, 40, seed=1))
    assert not np.array_equal(images[0], images[1])


def test_neighbours_are_alike_and_distant_pixels_are_not() -> None:
    images = synthetic_images(64, 1, 64, 64).astype(np.float64)[:, 0]

    def correlation(distance: int) -> float:
        return float(np.corrcoef(images[:, :, :-distance].flat, images[:, :, distance:].flat)[0, 1])

    assert correlation(1) > 0.8
    assert correlation(1) > correlation(4) > correlation(16) > 0
    assert abs(correlation(60)) < 0.25
    assert images.mean() == pytest.approx(127.5, abs=15)
    assert images.std() == pytest.approx(74, abs=12)


def test_shapes_grow_with_the_image() -> None:
    """Two pixels as far apart as a quarter of the width are as much alike at any size."""

    def correlation(size: int) -> float:
        images = synthetic_images(96, 1, size, size).astype(np.float64)
        gap = size // 4
        return float(np.corrcoef(images[..., :-gap].flat, images[..., gap:].flat)[0, 1])

    assert correlation(32) == pytest.approx(correlation(96), abs=0.12)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_tiny_images(size: tuple[int, int]) -> None:
    assert synthetic_images(2, 1, *size).shape == (2, 1, *size)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (("N", 3, 16, 24), (4, 3, 16, 24)),
        (("N", 16, 24, 3), (4, 16, 24, 3)),
        ((2, 1, "H", "W"), (4, 1, OPEN_SIZE, OPEN_SIZE)),
        (("N", None, None, 3), (4, OPEN_SIZE, OPEN_SIZE, 3)),
        (("N", "C", 8, 8), (4, 3, 8, 8)),
    ],
)
def test_images_take_the_shape_of_the_input(
    given: tuple[int | str | None, ...], made: tuple[int, ...]
) -> None:
    data = make(spec(*given))
    assert data.arrays["x"].shape == made
    assert data.arrays["x"].dtype == np.float32
    assert data.arrays["x"].flags.c_contiguous
    assert (data.name, data.warnings) == ("synthetic", ())


def test_the_layout_does_not_change_the_images() -> None:
    first, last = make(spec("N", 3, 16, 16)), make(spec("N", 16, 16, 3))
    assert np.array_equal(first.arrays["x"], last.arrays["x"].transpose(0, 3, 1, 2))
    assert first.sha256 != last.sha256
    assert first.sha256 == make(spec("N", 3, 16, 16)).sha256


def test_preprocessing_is_applied_as_to_pictures() -> None:
    pixels = synthetic_images(4, 3, 16, 16)
    by = Preprocessing(scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5,))
    wanted = (pixels / 255 - np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1)) / 0.5
    assert np.allclose(make(spec("N", 3, 16, 16), by=by).arrays["x"], wanted, rtol=0, atol=1e-5)
    assert np.array_equal(make(spec("N", 3, 16, 16)).arrays["x"], pixels)
    whole = make(spec("N", 3, 16, 16, dtype="uint8"), by=Preprocessing())
    assert np.array_equal(whole.arrays["x"], pixels)
    assert whole.warnings == ()


def test_without_preprocessing_zero_to_one_is_a_guess_and_told() -> None:
    data = make(spec("N", 3, 16, 16), by=Preprocessing())
    assert data.arrays["x"].max() == pytest.approx(1, abs=1e-6)
    (warning,) = data.warnings
    assert "which is a guess" in warning
    assert "--preprocess FILE.toml" in warning


def test_inputs_that_are_no_images_are_told() -> None:
    many = make(spec("N", 18, 16, 16))
    assert many.arrays["x"].shape == (4, 18, 16, 16)
    assert np.array_equal(many.arrays["x"], synthetic_images(4, 18, 16, 16))
    assert many.warnings == (
        "input 'x' is given synthetic pictures, which is a guess: give --calib an .npz",
    )
    flat = make(spec("N", 1000), by=Preprocessing())
    assert flat.arrays["x"].mean() == pytest.approx(0, abs=0.1)
    assert flat.arrays["x"].std() == pytest.approx(1, abs=0.1)
    (warning,) = flat.warnings
    assert "random numbers" in warning


@pytest.mark.parametrize(
    ("dtype", "values"), [("int64", {0, 1, 2, 3}), ("bool", {False, True}), ("uint8", {0, 1, 2, 3})]
)
def test_whole_numbers_and_coins(dtype: str, values: set[int]) -> None:
    data = make(spec("N", 50, dtype=dtype), by=Preprocessing())
    assert data.arrays["x"].dtype == np.dtype(dtype)
    assert set(data.arrays["x"].flat) == values


def test_several_inputs_differ() -> None:
    specs = TensorSpec("a", "float32", ("N", 9)), TensorSpec("b", "float32", ("N", 9))
    arrays = make(*specs, by=Preprocessing()).arrays
    assert not np.array_equal(arrays["a"], arrays["b"])


@pytest.mark.parametrize(
    ("batch", "limit", "count"),
    [("N", 16, 16), ("N", 1000, COUNT), (5, 16, 15), (32, 16, 32), (200, 256, 200)],
)
def test_how_many(batch: int | str, limit: int, count: int) -> None:
    assert make(spec(batch, 3, 4, 4), limit=limit).count == count


def test_preprocessing_that_fits_no_input() -> None:
    with pytest.raises(UsageError, match="for float inputs of rank 4; the network takes x: ") as e:
        make(spec("N", 10))
    assert e.value.hint
    with pytest.raises(UsageError, match="the std has 2 numbers"):
        make(spec("N", 3, 8, 8), by=Preprocessing(std=(1.0, 2.0)))
    with pytest.raises(UsageError, match="float32 cannot hold"):
        make(spec("N", 3, 8, 8), by=Preprocessing(scale=1e38))
