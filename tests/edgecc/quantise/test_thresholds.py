"""Where activations are cut off."""

from __future__ import annotations

import numpy as np
import pytest

from edgecc.quantise.ranges import magnitudes
from edgecc.quantise.thresholds import BINS, LEVELS, METHODS, Method, threshold


def rounding_error(x: np.ndarray, amax: float) -> float:
    """What int8 does to numbers, computed one by one."""
    step = amax / LEVELS
    return float(np.mean((np.clip(np.round(x / step), -LEVELS, LEVELS) * step - x) ** 2))


def with_outliers() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.concatenate([random.standard_normal(100_000), [60.0, -50.0]]).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_the_cut_lies_within_what_was_seen(method: Method) -> None:
    x = with_outliers()
    cut = threshold(magnitudes(x, 60.0), 60.0, method)
    assert 2.0 < cut <= 60.0
    assert (cut == 60.0) == (method == "minmax")


def test_mse_is_the_least_of_all_cuts() -> None:
    x = with_outliers()[:-2] * np.float32(3)
    amax = float(np.abs(x).max())
    cut = threshold(magnitudes(x, amax), amax, "mse")
    best = min(rounding_error(x, amax * share) for share in np.linspace(0.2, 1, 161))
    assert rounding_error(x, cut) <= 1.02 * best


def test_percentile_leaves_a_ten_thousandth_above() -> None:
    x = np.linspace(0.0, 1.0, 200_001).astype(np.float32)
    cut = threshold(magnitudes(x, 1.0), 1.0, "percentile")
    assert np.mean(x > cut) == pytest.approx(1e-4, abs=5e-4)


def test_zeros_do_not_count() -> None:
    x = np.abs(with_outliers())
    many = np.concatenate([x, np.zeros(900_000, np.float32)])
    assert (magnitudes(x, 60.0) == magnitudes(many, 60.0)).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_zeros_has_a_range_all_the_same(method: Method) -> None:
    assert threshold(np.zeros(BINS, np.int64), 0.0, method) == 1.0
