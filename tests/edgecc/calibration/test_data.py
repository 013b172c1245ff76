from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgecc.calibration.data import CalibrationData, read_calibration
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.errors import UsageError
from edgecc.target import TensorSpec

IMAGE = TensorSpec("x", "float32", ("N", 3, 8, 8))
NONE = Preprocessing()


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def read(tmp_path: Path, array: np.ndarray, spec: TensorSpec = IMAGE, **more: int) -> object:
    np.savez(tmp_path / "calib.npz", x=array)
    return read_calibration(tmp_path / "calib.npz", (spec,), NONE, **more)


def test_batches_follow_one_another_and_the_last_may_be_shorter() -> None:
    x = numbers(7, 2)
    data = CalibrationData("d", "0", {"x": x, "y": np.arange(7)})
    found = list(data.batches(3))
    assert [len(batch["x"]) for batch in found] == [3, 3, 1]
    assert np.array_equal(np.concatenate([batch["x"] for batch in found]), x)
    assert found[1]["y"].tolist() == [3, 4, 5]
    assert [len(batch["x"]) for batch in data.batches(7)] == [7]
    with pytest.raises(ValueError, match="batches of 0"):
        next(data.batches(0))


def test_the_summary_tells_what_the_numbers_look_like() -> None:
    x = np.array([[-2.0, 0.0], [2.0, 4.0]], np.float32)
    assert CalibrationData("d", "0", {"x": x}).summary() == (
        f"2 samples of x: -2 to 4, mean 1, deviation {math.sqrt(5):.3g}"
    )
    both = CalibrationData("d", "0", {"x": x[:1], "flag": np.array([True])})
    assert both.summary() == (
        "1 sample of x: -2 to 0, mean -1, deviation 1; flag: 1 to 1, mean 1, deviation 0"
    )


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    x = numbers(4, 3, 8, 8)
    (tmp_path / "elsewhere").mkdir()
    first = read(tmp_path, x)
    again = read(tmp_path / "elsewhere", np.asfortranarray(x.astype(np.float64)))
    assert isinstance(first, CalibrationData)
    assert isinstance(again, CalibrationData)
    assert first.sha256 == again.sha256
    assert len(first.sha256) == 64
    changed = x.copy()
    changed[3, 2, 7, 7] += 1e-3
    others = [
        read(tmp_path, changed),
        read(tmp_path, x[::-1].copy()),
        read(tmp_path, x, TensorSpec("other", "float32", IMAGE.shape)),
        read_calibration(tmp_path / "calib.npz", (IMAGE,), Preprocessing(scale=2.0)),
    ]
    digests = {other.sha256 for other in others if isinstance(other, CalibrationData)}
    assert len(digests | {first.sha256}) == 5


@pytest.mark.parametrize(
    ("limit", "batch", "count"),
    [(256, "N", 10), (4, "N", 4), (10, 4, 8), (7, 4, 4), (1, 4, 4), (256, 10, 10)],
)
def test_so_many_samples_in_whole_batches_evenly_spread(
    tmp_path: Path, limit: int, batch: int | str, count: int
) -> None:
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    data = read(tmp_path, x, TensorSpec("x", "float32", (batch, 2)), limit=limit)
    assert isinstance(data, CalibrationData)
    assert data.count == count
    assert data.arrays["x"][:, 0].tolist() == [2 * (i * 10 // count) for i in range(count)]
    assert data.name == ("calib.npz" if count == 10 else f"calib.npz ({count} of 10 samples)")


@pytest.mark.parametrize(
    ("specs", "problem"),
    [
        ((), "the network has no inputs"),
        ((TensorSpec("s", "float32", ()),), "'s' is a scalar"),
        ((TensorSpec("s", "object", (1,)),), "'s' takes object"),
        ((TensorSpec("s", "int4", (1,)),), "'s' takes int4"),
        ((TensorSpec("s", "complex64", (1,)),), "'s' takes complex64"),
        (
            (TensorSpec("a", "float32", (1, 2)), TensorSpec("b", "float32", (2, 2))),
            "'a' has 1 and 'b' has 2",
        ),
    ],
)
def test_networks_that_cannot_be_calibrated(specs: tuple[TensorSpec, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        read_calibration("synthetic", specs, NONE)
    assert caught.value.hint


def test_a_limit_below_one() -> None:
    with pytest.raises(UsageError, match="0 samples") as caught:
        read_calibration("synthetic", (IMAGE,), NONE, limit=0)
    assert caught.value.hint


@pytest.mark.parametrize("source", ["missing.npz", "synthetc", "x" * 5000])
def test_a_source_that_is_not_there(source: str) -> None:
    with pytest.raises(UsageError, match=f"nothing at {source}") as caught:
        read_calibration(source, (IMAGE,), NONE)
    assert caught.value.hint
    assert "'synthetic'" in caught.value.hint


def test_samples_that_are_all_the_same(tmp_path: Path) -> None:
    same = np.repeat(numbers(1, 3, 8, 8), 4, axis=0)
    with pytest.raises(UsageError, match="all 4 samples are the same") as caught:
        read(tmp_path, same)
    assert caught.value.hint
    assert read(tmp_path, same[:1])


@pytest.mark.parametrize("count", [1, 4])
def test_samples_of_one_number(tmp_path: Path, count: int) -> None:
    grey = np.full((count, 3, 8, 8), 0.5, np.float32)
    with pytest.raises(UsageError, match=r"every number .* 'x' is 0.5.* says nothing") as caught:
        read(tmp_path, grey)
    assert caught.value.hint


def test_one_constant_input_among_others_is_told(tmp_path: Path) -> None:
    specs = (TensorSpec("x", "float32", ("N", 2)), TensorSpec("mask", "bool", ("N", 2)))
    np.savez(tmp_path / "calib.npz", mask=np.ones((4, 2), bool), x=numbers(4, 2))
    data = read_calibration(tmp_path / "calib.npz", specs, NONE)
    assert data.warnings == ("every number of the input 'mask' is True",)
    assert list(data.arrays) == ["x", "mask"]


@pytest.mark.parametrize("value", [1e300, -1e39])
def test_numbers_beyond_float32(tmp_path: Path, value: float) -> None:
    x = numbers(4, 3, 8, 8).astype(np.float64)
    x[2, 0, 0, 0] = value
    with pytest.raises(UsageError, match="'x' has numbers that float32 cannot hold") as caught:
        read(tmp_path, x)
    assert caught.value.hint
