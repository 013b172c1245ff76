from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from helpers import conv_model, largest_gap, operators, run_passes

from edgecc.calibration.statistics import Statistics
from edgecc.conv import Conv, read
from edgecc.errors import UsageError
from passes.decompose.spatial_svd import SpatialSvd

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("EDGECC_TOOLS", ROOT.parent / "shared/tools"))
SIDES = ("vertical", "horizontal")


def a_conv(*sizes: Any, **options: Any) -> Conv:
    node = ir.from_proto(conv_model(*sizes, **options)).graph[0]
    conv = read(node)
    assert isinstance(conv, Conv)
    return conv


def correlated(conv: Conv, *, dead: bool = False) -> Statistics:
    """Of patches of smooth images through a ReLU, whose channels are mixtures of a few."""
    random = np.random.default_rng(5)
    channels, (high, wide) = conv.in_channels, conv.kernel
    fields = random.standard_normal((8, channels, 40, 40)).cumsum(axis=2).cumsum(axis=3) / 40
    fields += 0.1 * random.standard_normal(fields.shape)
    mixed = np.einsum("ab,nbhw->nahw", random.standard_normal((channels, channels)), fields)
    mixed = np.maximum(mixed / np.sqrt(1 + np.arange(channels))[:, None, None], 0)
    if dead:
        mixed[:, 0] = 0
    windows = np.lib.stride_tricks.sliding_window_view(mixed, (high, wide), axis=(2, 3))
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, conv.groups, conv.patch_size)
    centred = patches - patches.mean(axis=0)
    covariance = np.einsum("ngd,nge->gde", centred, centred, optimize=True) / len(patches)
    return Statistics.of_moments(patches.mean(axis=0), covariance, len(patches))


def errors(conv: Conv, statistics: Statistics, first: str, ranks: Any) -> list[float]:
    return [SpatialSvd(rank=r, first=first).project(conv, statistics).error for r in ranks]


def test_a_convolution_becomes_one_along_each_side() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decisions = run_passes(model, "spatial_svd(rank=4, first=vertical)")
    words = ["Conv 4x8x3x1 s2,1 p1,0,1,0", "Conv 12x4x1x3 s1,2 p0,1,0,1 bias"]
    assert operators(rewritten) == words
    assert decisions[0].options == {"rank": 4, "first": "vertical"}
    rewritten, _ = run_passes(model, "spatial_svd(rank=4, first=horizontal)")
    words = ["Conv 4x8x1x3 s1,2 p0,1,0,1", "Conv 12x4x3x1 s2,1 p1,0,1,0 bias"]
    assert operators(rewritten) == words


def test_each_group_and_each_side_has_its_own() -> None:
    model = conv_model(12, 8, (3, 5), groups=2, dilations=(1, 2), bias=False)
    rewritten, _ = run_passes(model, "spatial_svd(rank=3, first=vertical)")
    assert operators(rewritten) == ["Conv 6x4x3x1 g2", "Conv 12x3x1x5 d1,2 g2"]


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        ((1, 1), "its kernel is 1x1 (basis works on 1x1)"),
        ((1, 3), "its kernel is 1x3: separated already"),
        ((5, 1), "its kernel is 5x1: separated already"),
        ((5,), "its kernel is 1-D, and it separates 2-D ones"),
        ((3, 3, 3), "its kernel is 3-D, and it separates 2-D ones"),
    ],
)
def test_what_does_not_separate_is_refused(kernel: tuple[int, ...], reason: str) -> None:
    decision = run_passes(conv_model(12, 8, kernel, size=5), "spatial_svd(rank=1)")[1][0]
    assert decision.refusal == reason


def test_depthwise_is_refused_and_there_are_two_sides() -> None:
    decision = run_passes(conv_model(8, 8, (3, 3), groups=8), "spatial_svd(rank=1)")[1][0]
    assert decision.refusal == "it is depthwise: its channels share no side of a kernel"
    with pytest.raises(UsageError, match="no such side"):
        run_passes(conv_model(8, 8, (3, 3)), "spatial_svd(first=depth)")


@pytest.mark.parametrize("first", SIDES)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (3, 3), "strides": (2, 1), "pads": (0, 1, 2, 0)},
        {"kernel": (5, 5), "dilations": (1, 2), "pads": (2, 4, 2, 4)},
        {"kernel": (3, 5), "groups": 2, "pads": (1, 2, 1, 2)},
        {"kernel": (3, 2), "out_channels": 2},
        {"kernel": (3, 3), "out_channels": 40},
    ],
)
def test_full_rank_is_exact_under_any_statistics(first: str, options: dict[str, Any]) -> None:
    options = {"out_channels": 12, "in_channels": 8, **options}
    model, conv = conv_model(**options), a_conv(**options)
    rewritten = ir.from_proto(model)
    rewrite = SpatialSvd(rank=10**6, first=first)
    decision, _ = rewrite.apply(rewritten.graph[0], statistics=correlated(conv, dead=True))
    assert decision.error == 0
    assert largest_gap(model, rewritten) < 5e-6
    almost = SpatialSvd(rank=rewrite.full_rank(conv) - 1, first=first)
    assert almost.project(conv, correlated(conv)).error > 0


def test_without_statistics_the_error_is_the_tail_of_the_singular_values() -> None:
    conv = a_conv(12, 8, (3, 5))
    unfolded = {
        "vertical": conv.weight.transpose(1, 2, 0, 3).reshape(8 * 3, 12 * 5),
        "horizontal": conv.weight.transpose(1, 3, 0, 2).reshape(8 * 5, 12 * 3),
    }
    for first, matrix in unfolded.items():
        energy = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
        found = errors(conv, Statistics.identity(conv), first, [1, 7, 20])
        expected = [energy[rank:].sum() / energy.sum() for rank in (1, 7, 20)]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        curve = SpatialSvd(first=first).curve(conv, Statistics.identity(conv))
        np.testing.assert_allclose(np.array(curve)[[0, 6, 19]], expected, atol=1e-12)


@pytest.mark.parametrize("first", SIDES)
def test_under_statistics_the_error_falls_and_is_below_that_of_the_weights(first: str) -> None:
    conv = a_conv(16, 12, (3, 3))
    statistics = correlated(conv)
    block = next(statistics.blocks(conv))
    ranks = range(1, 32, 5)
    found = errors(conv, statistics, first, ranks)
    assert found == sorted(found, reverse=True)
    for rank, error in zip(ranks, found, strict=True):
        free = SpatialSvd(rank=rank, first=first).project(conv, Statistics.identity(conv))
        lost = block.energy(block.weight - free.weight[0]) / block.energy(block.weight)
        assert error < lost


def test_white_inputs_are_as_good_as_none() -> None:
    conv = a_conv(16, 12, (3, 3))
    noise = np.random.default_rng(0).standard_normal((4000, conv.patch_size))
    white = Statistics.of_moments(np.zeros((1, conv.patch_size)), np.cov(noise.T)[None], 4000)
    for rank in (4, 12, 24):
        free = SpatialSvd(rank=rank, first="vertical").project(conv, Statistics.identity(conv))
        error = errors(conv, white, "vertical", [rank])[0]
        assert abs(error / free.error - 1) < 0.07


def test_it_beats_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS / "reference")
    wls = pytest.importorskip("wls", reason=f"there is no reference solver in {TOOLS}")
    conv = a_conv(16, 12, (3, 3))
    statistics = correlated(conv)
    block = next(statistics.blocks(conv))
    for rank in (3, 8, 16):
        theirs, _ = wls.spatial(block.weight, block.covariance, rank, 12, iters=3)
        error = block.energy(block.weight - theirs) / block.energy(block.weight)
        assert errors(conv, statistics, "vertical", [rank])[0] < 1.02 * error


def test_the_order_left_open_is_the_one_that_errs_less() -> None:
    random = np.random.default_rng(0)
    lines = random.standard_normal((4, 12, 3)), random.standard_normal((16, 4, 3))
    separable = np.einsum("rci,orj->ocij", *lines)
    for weight, side in [(separable, "vertical"), (separable.transpose(0, 1, 3, 2), "horizontal")]:
        conv = Conv("conv", weight, None, a_conv(16, 12, (3, 3)).window, 1)
        for statistics in (Statistics.identity(conv), correlated(conv)):
            assert SpatialSvd(rank=4).settle(conv, statistics) == SpatialSvd(rank=4, first=side)
            assert SpatialSvd(rank=4, first=side).project(conv, statistics).error < 1e-9


@pytest.mark.parametrize("groups", [1, 2])
def test_a_planner_gets_both_orders_and_about_their_errors(groups: int) -> None:
    conv = a_conv(16, 16, (3, 3), groups=groups)
    statistics = correlated(conv)
    choices = SpatialSvd().choices(conv, 2)
    assert {choice.first for choice in choices} == set(SIDES)
    shares = [choice.share(conv) for choice in choices]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    estimated = SpatialSvd().errors(conv, statistics, choices)
    exact = [choice.project(conv, statistics).error for choice in choices]
    np.testing.assert_allclose(estimated, exact, rtol=0.15)


@pytest.mark.parametrize("filters", [[0] * 8, [0, 0, 0, 0, 1, 2, 3, 4], [1] * 8])
def test_dead_or_equal_filters_and_dead_inputs_are_no_trouble(filters: list[int]) -> None:
    conv = a_conv(8, 6, (3, 3))
    known = np.concatenate([np.zeros((1, 6, 3, 3)), conv.weight])
    conv = replace(conv, weight=known[filters])
    dead = correlated(conv, dead=True)
    singular = Statistics(dead.mean, np.ones_like(dead.covariance))
    for statistics in (dead, singular, Statistics.identity(conv)):
        for first in SIDES:
            found = errors(conv, statistics, first, range(1, 18))
            assert np.isfinite(found).all()
            assert found[-1] < 1e-9
