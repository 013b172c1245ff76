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
from passes.decompose.tucker2 import Tucker2

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("EDGECC_TOOLS", ROOT.parent / "shared/tools"))


def a_conv(*sizes: Any, **options: Any) -> Conv:
    conv = read(ir.from_proto(conv_model(*sizes, **options)).graph[0])
    assert isinstance(conv, Conv)
    return conv


def correlated(conv: Conv, *, dead: bool = False) -> Statistics:
    """Of patches whose numbers are mixtures of few, seen through a ReLU."""
    random = np.random.default_rng(5)
    shape = (3000, conv.groups, conv.patch_size)
    few = random.standard_normal(shape) / (1 + np.arange(conv.patch_size))
    patches = np.maximum(few @ random.standard_normal((conv.patch_size,) * 2), 0)
    if dead:
        patches[..., : conv.taps] = 0
    centred = patches - patches.mean(axis=0)
    covariance = np.einsum("ngd,nge->gde", centred, centred, optimize=True) / len(patches)
    return Statistics.of_moments(patches.mean(axis=0), covariance, len(patches))


def errors(conv: Conv, statistics: Statistics, ranks: Any) -> list[float]:
    return [Tucker2(rank=r, rank_in=w).project(conv, statistics).error for r, w in ranks]


def test_a_convolution_becomes_a_narrow_one_between_two_pointwise_ones() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decisions = run_passes(model, "tucker2(rank=6, rank_in=5)")
    words = ["Conv 5x8x1x1", "Conv 6x5x3x3 s2 p1", "Conv 12x6x1x1 bias"]
    assert operators(rewritten) == words
    assert decisions[0].options == {"rank": 6, "rank_in": 5}


def test_each_group_has_its_own() -> None:
    model = conv_model(12, 8, (3, 3), groups=2, dilations=(1, 2), bias=False)
    rewritten, _ = run_passes(model, "tucker2(rank=3, rank_in=2)")
    words = ["Conv 4x4x1x1 g2", "Conv 6x2x3x3 d1,2 g2", "Conv 12x3x1x1 g2"]
    assert operators(rewritten) == words


def test_it_takes_any_number_of_dimensions() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (5,), pads=(2, 2)), "tucker2(rank=6, rank_in=4)")
    assert operators(rewritten) == ["Conv 4x8x1", "Conv 6x4x5 p2", "Conv 12x6x1 bias"]
    rewritten, _ = run_passes(conv_model(12, 8, (3, 3, 3)), "tucker2(rank=6, rank_in=4)")
    words = ["Conv 4x8x1x1x1", "Conv 6x4x3x3x3", "Conv 12x6x1x1x1 bias"]
    assert operators(rewritten) == words


def test_the_rank_of_the_inputs_follows_that_of_the_outputs() -> None:
    rewritten, decisions = run_passes(conv_model(16, 16, (3, 3)), "tucker2(rank=10)")
    assert decisions[0].options == {"rank": 10, "rank_in": 7}
    assert operators(rewritten)[1] == "Conv 10x7x3x3"
    wide, narrow = a_conv(64, 16, (3, 3)), a_conv(16, 64, (3, 3))
    nothing = Statistics.identity(wide), Statistics.identity(narrow)
    assert Tucker2(rank=20).settle(wide, nothing[0]) == Tucker2(rank=20, rank_in=8)
    assert Tucker2(rank=10).settle(narrow, nothing[1]) == Tucker2(rank=10, rank_in=12)
    assert Tucker2(rank=99).settle(wide, nothing[0]) == Tucker2(rank=64, rank_in=16)
    assert Tucker2(rank=9, rank_in=99).settle(wide, nothing[0]) == Tucker2(rank=9, rank_in=16)


def test_what_has_nothing_to_narrow_is_refused() -> None:
    decision = run_passes(conv_model(12, 8, (1, 1)), "tucker2(rank=1)")[1][0]
    assert decision.refusal == "its kernel is 1x1 (basis works on 1x1)"
    decision = run_passes(conv_model(8, 8, (3, 3), groups=8), "tucker2(rank=1)")[1][0]
    assert decision.refusal == "it is depthwise: it has no channels to narrow"
    with pytest.raises(UsageError, match="reads nothing"):
        run_passes(conv_model(8, 8, (3, 3)), "tucker2(rank=1, rank_in=0)")


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (3, 3), "strides": (2, 1), "pads": (0, 1, 2, 0)},
        {"kernel": (5, 5), "dilations": (1, 2), "pads": (2, 4, 2, 4)},
        {"kernel": (3, 5), "groups": 2, "pads": (1, 2, 1, 2)},
        {"kernel": (3,), "out_channels": 40},
    ],
)
def test_full_rank_is_exact_under_any_statistics(options: dict[str, Any]) -> None:
    options = {"out_channels": 12, "in_channels": 8, **options}
    model, conv = conv_model(**options), a_conv(**options)
    rewritten = ir.from_proto(model)
    statistics = correlated(conv, dead=True)
    decision, _ = Tucker2(rank=10**6).apply(rewritten.graph[0], statistics=statistics)
    assert decision.error == 0
    assert largest_gap(model, rewritten) < 5e-6
    full, inputs = Tucker2().full_rank(conv), conv.weight.shape[1]
    assert min(errors(conv, correlated(conv), [(full - 1, inputs), (full, inputs - 1)])) > 0


def test_with_all_inputs_it_is_the_principal_components_of_the_output() -> None:
    conv = a_conv(12, 8, (3, 3))
    block = next(correlated(conv).blocks(conv))
    energy = np.linalg.eigvalsh(block.times(block.weight) @ block.weight.T)[::-1]
    found = errors(conv, correlated(conv), [(4, 8), (9, 8)])
    np.testing.assert_allclose(found, 1 - np.cumsum(energy)[[3, 8]] / energy.sum(), atol=1e-9)


def test_under_statistics_the_error_falls_and_is_below_that_of_the_weights() -> None:
    conv = a_conv(16, 12, (3, 3))
    statistics = correlated(conv)
    block = next(statistics.blocks(conv))
    ranks = [(1, 1), (3, 2), (6, 4), (9, 6), (12, 9), (15, 11)]
    found = errors(conv, statistics, ranks)
    assert found == sorted(found, reverse=True)
    for (rank, rank_in), error in zip(ranks, found, strict=True):
        free = Tucker2(rank=rank, rank_in=rank_in).project(conv, Statistics.identity(conv))
        lost = block.energy(block.weight - free.weight[0]) / block.energy(block.weight)
        assert error < lost


def test_white_inputs_are_as_good_as_none() -> None:
    conv = a_conv(16, 12, (3, 3))
    noise = np.random.default_rng(0).standard_normal((4000, conv.patch_size))
    white = Statistics.of_moments(np.zeros((1, conv.patch_size)), np.cov(noise.T)[None], 4000)
    ranks = [(4, 3), (8, 8), (14, 10)]
    free = errors(conv, Statistics.identity(conv), ranks)
    np.testing.assert_allclose(errors(conv, white, ranks), free, rtol=0.07)


def test_it_equals_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS / "reference")
    wls = pytest.importorskip("wls", reason=f"there is no reference solver in {TOOLS}")
    conv = a_conv(16, 12, (3, 3))
    for statistics in (correlated(conv), Statistics.identity(conv)):
        block = next(statistics.blocks(conv))
        for rank, rank_in in [(4, 4), (8, 5), (12, 9)]:
            theirs, _ = wls.tucker2(block.weight, block.dense_covariance, rank, rank_in, 12)
            error = block.energy(block.weight - theirs) / block.energy(block.weight)
            assert errors(conv, statistics, [(rank, rank_in)])[0] < 1.02 * error


@pytest.mark.parametrize("groups", [1, 2])
def test_a_planner_gets_several_ranks_of_the_inputs_and_about_their_errors(groups: int) -> None:
    conv = a_conv(16, 16, (3, 3), groups=groups)
    choices = Tucker2().choices(conv, 2)
    assert all(choice.rank % 2 == choice.rank_in % 2 == 0 for choice in choices)
    assert len({choice.rank_in for choice in choices if choice.rank == 6}) > 1
    shares = [choice.share(conv) for choice in choices]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    for statistics in (correlated(conv), Statistics.identity(conv)):
        estimated = Tucker2().errors(conv, statistics, choices)
        exact = [choice.project(conv, statistics).error for choice in choices]
        np.testing.assert_allclose(estimated, exact, rtol=0.15)
    assert Tucker2().errors(conv, statistics, []) == []


@pytest.mark.parametrize("filters", [[0] * 8, [0, 0, 0, 0, 1, 2, 3, 4], [1] * 8])
def test_dead_or_equal_filters_and_dead_inputs_are_no_trouble(filters: list[int]) -> None:
    conv = a_conv(8, 6, (3, 3))
    known = np.concatenate([np.zeros((1, 6, 3, 3)), conv.weight])
    conv = replace(conv, weight=known[filters])
    dead = correlated(conv, dead=True)
    singular = Statistics(dead.mean, np.ones_like(dead.covariance))
    for statistics in (dead, singular, Statistics.identity(conv)):
        found = errors(conv, statistics, [(1, 1), (2, 5), (4, 4), (7, 6)])
        assert np.isfinite(found).all()
        assert found[-1] < 1e-9
