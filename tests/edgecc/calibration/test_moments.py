from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from correlated import conv_of
from helpers import conv_model, normal

from edgecc.calibration.moments import REGRESSION_FLOOR, Moments
from edgecc.calibration.patches import Sampler
from edgecc.calibration.statistics import FLOOR, SHRINKAGE
from edgecc.conv import Array, Conv, Window
from edgecc.errors import ModelError

GEMM = Conv("gemm", normal(5, 8), None, Window.pointwise(0), 1)


def mixed(*shape: int, seed: int = 0) -> np.ndarray:
    """Rectified noise whose channels hang together, (N, C, ...)."""
    random = np.random.default_rng(seed)
    mix = random.standard_normal((shape[1], shape[1])) / np.arange(1, shape[1] + 1)
    x = np.einsum("cd,nd...->nc...", mix, random.standard_normal(shape))
    return np.maximum(x + 0.3, 0).astype(np.float32)


def measured(conv: Conv, batches: list[Array], targets: list[Array] | None = None) -> Moments:
    moments = Moments(conv, targets=targets is not None)
    for part in Sampler(conv).over(batches, *([] if targets is None else [targets])):
        moments.add(*part)
    return moments


def rows_of(conv: Conv, batches: list[Array]) -> Array:
    """Every patch in float64: (N, G, d)."""
    found = [rows for (rows,) in Sampler(conv).over(batches)]
    return np.concatenate(found).astype(np.float64)


def ridge_of(conv: Conv, count: int, covariance: Array, floor: float) -> Array:
    size = conv.patch_size
    amount = max(floor, SHRINKAGE * size / count) * np.trace(covariance) / size
    return amount * np.eye(size)


def targets_like(conv: Conv, batches: list[Array], seed: int = 8) -> list[Array]:
    """What another convolution puts out, with noise: one array of positions for each batch."""
    random = np.random.default_rng(seed)
    sizes = (11,) * len(conv.kernel)
    found = []
    for batch in batches:
        rows = rows_of(conv, [batch])
        other = conv.matrix() + 0.3 * np.random.default_rng(seed).standard_normal(
            conv.matrix().shape
        )
        y = np.einsum("Ngd,gnd->Ngn", rows, other).reshape(len(rows), -1) + 2
        y += 0.1 * random.standard_normal(y.shape)
        stacked = y.reshape(len(batch), -1, conv.out_channels).transpose(0, 2, 1)
        found.append(stacked.reshape(len(batch), conv.out_channels, *sizes).astype(np.float32))
    return found


@pytest.mark.parametrize("groups", [1, 2])
def test_statistics_are_numpys_mean_and_covariance_with_a_ridge(groups: int) -> None:
    conv = conv_of(conv_model(6, 4, (3, 3), pads=(1, 1, 1, 1), groups=groups))
    batches = [mixed(5, 4, 11, 11), mixed(3, 4, 11, 11, seed=1)]
    found = measured(conv, batches).statistics()
    rows = rows_of(conv, batches)
    assert found.patches == len(rows) == 8 * 121
    assert found.covariance is not None
    for group in range(groups):
        covariance = np.cov(rows[:, group].T, bias=True)
        ridge = ridge_of(conv, len(rows), covariance, FLOOR)
        assert np.abs(found.mean[group] - rows[:, group].mean(axis=0)).max() < 1e-5
        assert np.abs(found.covariance[group] - covariance - ridge).max() < 5e-5
        assert np.array_equal(found.covariance[group], found.covariance[group].T)


def test_it_does_not_matter_how_the_patches_come() -> None:
    conv = conv_of(conv_model(6, 4, (3, 3), pads=(1, 1, 1, 1)))
    x = mixed(8, 4, 11, 11)
    whole = measured(conv, [x]).statistics()
    parts = measured(conv, [x[:1], x[1:6], x[6:]]).statistics()
    assert np.abs(whole.mean - parts.mean).max() < 1e-5
    assert whole.covariance is not None
    assert parts.covariance is not None
    assert np.abs(whole.covariance - parts.covariance).max() < 5e-5


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_towards_is_least_squares_with_a_ridge_towards_the_weights(groups: int, bias: bool) -> None:
    conv = conv_of(conv_model(6, 4, (3, 3), pads=(1, 1, 1, 1), groups=groups, bias=bias))
    batches = [mixed(3, 4, 11, 11), mixed(2, 4, 11, 11, seed=1)]
    targets = targets_like(conv, batches)
    found = measured(conv, batches, targets).towards()
    assert found.bias is not None
    rows = rows_of(conv, batches)
    y = np.concatenate([t.transpose(0, 2, 3, 1).reshape(-1, 6) for t in targets]).astype(np.float64)
    width = 6 // groups
    for group, weight in enumerate(conv.matrix()):
        x, own = rows[:, group], y[:, group * width : (group + 1) * width]
        covariance = np.cov(x.T, bias=True)
        ridge = ridge_of(conv, len(x), covariance, REGRESSION_FLOOR)
        off = (own - own.mean(axis=0)) - (x - x.mean(axis=0)) @ weight.T
        gain = np.linalg.solve(covariance + ridge, (x - x.mean(axis=0)).T @ off / len(x)).T
        expected = weight + gain
        assert np.abs(gain).max() > 0.1
        assert np.abs(found.matrix()[group] - expected).max() < 1e-4
        level = own.mean(axis=0) - expected @ x.mean(axis=0)
        assert np.abs(found.bias.reshape(groups, -1)[group] - level).max() < 1e-4


def test_what_is_lost_is_the_distance_from_the_regression() -> None:
    """METHODS A.3 (2), ridge included: for any W' with its best bias, the squared error and the
    ridge's pull towards W exceed tr((W* - W') (S + ridge) (W* - W')^T) by the same constant.
    """
    conv = conv_of(conv_model(6, 4, (3, 3), pads=(1, 1, 1, 1)))
    batches = [mixed(4, 4, 11, 11)]
    targets = targets_like(conv, batches)
    best = measured(conv, batches, targets).towards().matrix()[0]
    x = rows_of(conv, batches)[:, 0]
    y = targets[0].transpose(0, 2, 3, 1).reshape(-1, 6).astype(np.float64)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    covariance = x.T @ x / len(x)
    ridge = ridge_of(conv, len(x), covariance, REGRESSION_FLOOR)
    constants = []
    for seed in range(5):
        other = best + 0.5 * np.random.default_rng(seed).standard_normal(best.shape)
        pulled = other - conv.matrix()[0]
        lost = np.sum((y - x @ other.T) ** 2) / len(x) + np.sum(pulled @ ridge * pulled)
        apart = best - other
        constants.append(lost - np.sum(apart @ (covariance + ridge) * apart))
    assert np.ptp(constants) < 1e-3
    assert constants[0] > 0


def test_nothing_to_repair_leaves_the_weights() -> None:
    conv = conv_of(conv_model(6, 4, (3, 3), pads=(1, 1, 1, 1)))
    x = mixed(4, 4, 11, 11)
    rows = rows_of(conv, [x])[:, 0]
    assert conv.bias is not None
    y = (rows @ conv.matrix()[0].T + conv.bias).reshape(4, 11, 11, 6).transpose(0, 3, 1, 2)
    found = measured(conv, [x], [y.astype(np.float32)]).towards()
    assert np.abs(found.weight - conv.weight).max() < 1e-5
    assert found.bias is not None
    assert np.abs(found.bias - conv.bias).max() < 1e-5


def test_a_large_mean_takes_no_digits_from_the_covariance() -> None:
    conv = conv_of(conv_model(6, 4, (3, 3), pads=(0, 0, 0, 0)))
    batches = [1000 + normal(4, 4, 11, 11, seed=seed) for seed in range(4)]
    targets = [500 + normal(4, 6, 9, 9, seed=seed + 50) for seed in range(4)]
    moments = measured(conv, batches, targets)
    rows = rows_of(conv, batches)[:, 0]
    covariance = np.cov(rows.T, bias=True)
    found = moments.statistics()
    assert found.covariance is not None
    ridge = ridge_of(conv, len(rows), covariance, FLOOR)
    assert np.abs(found.covariance[0] - covariance - ridge).max() < 5e-5
    assert np.abs(found.mean[0] - rows.mean(axis=0)).max() < 1e-4
    y = np.concatenate([t.transpose(0, 2, 3, 1).reshape(-1, 6) for t in targets]).astype(np.float64)
    x, y = rows - rows.mean(axis=0), y - y.mean(axis=0)
    ridged = covariance + ridge_of(conv, len(rows), covariance, REGRESSION_FLOOR)
    weight = conv.matrix()[0]
    expected = weight + np.linalg.solve(ridged, x.T @ (y - x @ weight.T) / len(x)).T
    assert np.abs(moments.towards().matrix()[0] - expected).max() < 1e-4


def assert_usable(conv: Conv, moments: Moments) -> None:
    found = moments.statistics()
    assert found.covariance is not None
    assert np.isfinite(found.mean).all()
    assert np.isfinite(np.linalg.cholesky(found.covariance)).all()
    towards = moments.towards()
    assert towards.bias is not None
    assert np.isfinite(towards.weight).all()
    assert np.isfinite(towards.bias).all()
    assert np.abs(towards.weight - conv.weight).max() < 10


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "given", ["one sample", "few samples", "dead channel", "dead group", "zeros", "one number"]
)
def test_inputs_that_say_little(given: str, groups: int) -> None:
    conv = conv_of(conv_model(6, 4, (3, 3), pads=(1, 1, 1, 1), groups=groups, size=3))
    conv = replace(conv, window=Window((1, 1), (0,) * 4, (1, 1)))
    x = mixed(20, 4, 3, 3)  # a patch a sample, of 36 numbers
    if given in ("one sample", "few samples"):
        x = x[: 1 if given == "one sample" else 5]
    elif given == "dead channel":
        x[:, 1] = 0
    elif given == "dead group":
        x[:, :2] = 0
    else:
        x[:] = 0 if given == "zeros" else 0.7
    y = [normal(len(x), 6, 1, 1)]
    assert_usable(conv, measured(conv, [x], y))


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_samples_than_a_gemm_has_inputs(count: int) -> None:
    x, y = normal(count, 8), normal(count, 5)
    moments = measured(GEMM, [x], [y])
    assert_usable(GEMM, moments)
    found = moments.statistics()
    assert found.patches == count


@pytest.mark.parametrize(("batches", "samples"), [(3, 8), (4, 16), (2, 32)])
def test_channels_that_never_change_in_several_batches(batches: int, samples: int) -> None:
    """As behind a ReLU that is dead and a bias: every number is its channel's."""
    conv = conv_of(conv_model(6, 8, (1, 1)))
    level = np.linspace(0.1, 0.8, 8, dtype=np.float32)[None, :, None, None]
    x = [np.broadcast_to(level, (samples, 8, 12, 12)).copy() for _ in range(batches)]
    y = [np.full((samples, 6, 12, 12), 0.3, np.float32) for _ in range(batches)]
    assert_usable(conv, measured(conv, x, y))


@pytest.mark.parametrize("first", ["its own", "all the same", "nothing"])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_channels_that_change_no_more_than_rounding(first: str, share: float) -> None:
    """The last digit of a number says nothing of what it could be."""
    random = np.random.default_rng(3)
    conv = conv_of(conv_model(6, 16, (1, 1)))
    level = (10.0 ** random.uniform(-3, 4, 16)).astype(np.float32)[None, :, None, None]
    x = [level * (1 + 6e-8 * random.standard_normal((16, 16, 20, 20))) for _ in range(3)]
    moves = random.random(16) >= share
    for batch in x:
        batch[:, moves] += random.standard_normal((16, int(moves.sum()), 20, 20))
    if first == "all the same":
        x[0][:] = level
    elif first == "nothing":
        x[0][:, moves] = 0
    x = [batch.astype(np.float32) for batch in x]
    y = [normal(16, 6, 20, 20, seed=seed) for seed in range(3)]
    moments = measured(conv, x, y)
    assert_usable(conv, moments)
    found = moments.statistics().covariance
    assert found is not None
    off = found[0] - np.diag(np.diag(found[0]))
    assert not off[~moves].any()
    assert np.allclose(moments.towards().matrix()[0][:, ~moves], conv.matrix()[0][:, ~moves])


def test_numbers_whose_squares_overflow() -> None:
    x = [np.concatenate([normal(40, 8), 1e25 * normal(4, 8)])]
    with pytest.raises(ModelError, match="gemm that are not finite, or too large to square"):
        measured(GEMM, x).statistics()


def test_no_patches_at_all() -> None:
    moments = Moments(GEMM, targets=True)
    assert_usable(GEMM, moments)
