from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from correlated import conv_of, correlated, dense_again, lost, oracle, rewrite
from helpers import conv_model, largest_gap, operators, run_passes

from edgecc.calibration.statistics import Block, Statistics
from passes.decompose import kronecker
from passes.decompose.pointwise_depthwise import PointwiseDepthwise

SHAPES: dict[str, dict[str, Any]] = {
    "3x3": {"out_channels": 12, "in_channels": 16, "kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "grouped, strided": {
        "out_channels": 12,
        "in_channels": 24,
        "kernel": (3, 3),
        "groups": 2,
        "strides": (2, 2),
        "pads": (1, 1, 1, 1),
    },
    "5x5 dilated": {
        "out_channels": 6,
        "in_channels": 8,
        "kernel": (5, 5),
        "dilations": (1, 2),
        "pads": (0, 1, 2, 0),
    },
    "fewer channels than taps": {"out_channels": 12, "in_channels": 4, "kernel": (3, 3)},
    "1-D": {"out_channels": 12, "in_channels": 8, "kernel": (5,)},
}


def test_a_convolution_becomes_pointwise_and_depthwise() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1), dilations=(2, 2))
    rewritten, decisions = run_passes(model, "pointwise_depthwise(rank=2)")
    assert operators(rewritten) == ["Conv 24x8x1x1", "Conv 12x2x3x3 s2 p1 d2 g12 bias"]
    assert decisions[0].options == {"rank": 2}


def test_a_grouped_convolution_keeps_its_groups_in_the_pointwise_half() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (3, 3), groups=2), "pointwise_depthwise(rank=3)")
    assert operators(rewritten) == ["Conv 36x4x1x1 g2", "Conv 12x3x3x3 g12 bias"]


def test_the_rank_is_cut_to_what_there_is() -> None:
    for channels, rank in ((16, 9), (4, 4)):
        model = conv_model(12, channels, (3, 3))
        decision = run_passes(model, "pointwise_depthwise(rank=50)")[1][0]
        assert decision.options == {"rank": rank}


def test_pointwise_and_depthwise_convolutions_are_refused() -> None:
    decision = run_passes(conv_model(12, 8, (1, 1)), "pointwise_depthwise(rank=1)")[1][0]
    assert decision.refusal == "its kernel is 1x1 (basis works on 1x1)"
    decision = run_passes(conv_model(8, 8, (3, 3), groups=8), "pointwise_depthwise(rank=1)")[1][0]
    assert decision.refusal == "it is depthwise already"


@pytest.mark.parametrize("shape", SHAPES)
def test_without_statistics_the_curve_is_what_every_rank_reaches(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    nothing = Statistics.identity(conv)
    curve = PointwiseDepthwise().curve(conv, nothing)
    assert curve is not None
    for rank, error in enumerate(curve, 1):
        found = PointwiseDepthwise(rank=rank).project(conv, nothing)
        assert abs(found.error - error) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_never_worse_than_the_svd_refitted_and_falls_with_the_rank(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    nothing = Statistics.identity(conv)
    for statistics in (correlated(conv), correlated(conv, dead=(0,), twins=True)):
        ranks = range(1, PointwiseDepthwise().full_rank(conv) + 1)
        errors = [PointwiseDepthwise(rank=rank).project(conv, statistics).error for rank in ranks]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] == 0
        for rank, error in zip(ranks, errors, strict=True):
            mixes = PointwiseDepthwise(rank=rank).project(conv, nothing).factors[0]
            blocks = zip(statistics.blocks(conv), mixes, strict=True)
            free = np.stack([_filters_refitted(block, mix) for block, mix in blocks])
            assert error <= lost(conv, statistics, free) + 1e-10


def test_where_the_fit_is_worse_it_is_the_svd_refitted(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = conv_of(conv_model(12, 16, (3, 3)))
    statistics = correlated(conv, dead=(0, 1))  # what a mix of zero falls to
    block = next(iter(statistics.blocks(conv)))
    poor = (np.zeros((12, 16, 2)), np.zeros((12, 2, 9)))
    monkeypatch.setattr(kronecker, "STEPS", 0)
    monkeypatch.setattr(kronecker.KroneckerFit, "start", lambda self, rank: poor)
    found = PointwiseDepthwise(rank=2).project(conv, statistics).weight[0]
    mixes = PointwiseDepthwise(rank=2).project(conv, Statistics.identity(conv)).factors[0][0]
    np.testing.assert_allclose(found, _filters_refitted(block, mixes), atol=1e-9)


def _filters_refitted(block: Block, mixes: np.ndarray) -> np.ndarray:
    """Least squares for the filters (rank, taps) of each output, its mix (rank, c) given."""
    root = np.linalg.cholesky(block.dense_covariance)
    made = np.empty_like(block.weight)
    for row, mix in enumerate(mixes):
        seen = np.kron(mix, np.eye(block.taps))  # (rank*taps, d)
        found = np.linalg.lstsq((seen @ root).T, block.weight[row] @ root, rcond=None)[0]
        made[row] = found @ seen
    return made


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
def test_it_reaches_what_the_reference_reaches(rank: int) -> None:
    conv = conv_of(conv_model(16, 24, (3, 3)))
    statistics = correlated(conv)
    weight, covariance = conv.matrix()[0], statistics.covariance[0]
    expected = oracle().pwdw(weight, covariance, rank, 24, iters=2)[0]
    found = PointwiseDepthwise(rank=rank).project(conv, statistics).error
    assert found < 1.01 * oracle().err(weight, expected, covariance)


def test_how_many_outputs_are_solved_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conv = conv_of(conv_model(12, 16, (3, 3)))
    statistics = correlated(conv)
    found = []
    for numbers in (1, 5 * 27**2, 2**20):
        monkeypatch.setattr(kronecker, "NUMBERS_AT_ONCE", numbers)
        found.append(PointwiseDepthwise(rank=3).project(conv, statistics).weight)
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    np.testing.assert_allclose(found[1], found[2], atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_planner_hears_of_nearly_the_same_errors(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    statistics = correlated(conv)
    choices = [PointwiseDepthwise(rank=rank) for rank in (1, 2, 3)]
    heard = PointwiseDepthwise().errors(conv, statistics, choices)
    for choice, error in zip(choices, heard, strict=True):
        reached = choice.project(conv, statistics).error
        assert reached - 1e-9 < error < 1.15 * reached
    assert PointwiseDepthwise().errors(conv, statistics, []) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_the_operators_compute_what_was_fitted(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    statistics = correlated(conv_of(model))
    rewritten, decision = rewrite(model, PointwiseDepthwise(rank=2), statistics)
    found = PointwiseDepthwise(rank=2).project(conv_of(model), statistics)
    assert decision.error == found.error
    assert largest_gap(dense_again(model, found, statistics), rewritten) < 5e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_full_rank_is_exact_under_any_statistics(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    conv = conv_of(model)
    steep = correlated(conv, dead=(0,), twins=True)
    steep.covariance[...] *= np.outer(*[np.logspace(0, -5, conv.patch_size)] * 2)
    rewritten, decision = rewrite(model, PointwiseDepthwise(rank=10**6), steep)
    assert decision.error == 0
    assert largest_gap(model, rewritten) < 5e-6


def test_inputs_that_do_not_hang_together_change_little() -> None:
    conv = conv_of(conv_model(16, 12, (3, 3)))
    sample = np.random.default_rng(2).standard_normal((20 * conv.patch_size, conv.patch_size))
    white = Statistics.of_moments(np.zeros((1, 108)), np.cov(sample.T)[None], len(sample))
    for rank in (1, 3, 6):
        aware = PointwiseDepthwise(rank=rank).project(conv, white).weight
        free = PointwiseDepthwise(rank=rank).project(conv, Statistics.identity(conv))
        assert abs(lost(conv, Statistics.identity(conv), aware) / free.error - 1) < 0.07


def test_the_same_bytes_every_time_and_nothing_from_nothing() -> None:
    model = conv_model(12, 8, (3, 3))
    conv = conv_of(model)
    statistics = correlated(conv)
    first, second = (PointwiseDepthwise(rank=2).project(conv, statistics) for _ in range(2))
    assert first.weight.tobytes() == second.weight.tobytes()
    weight = conv.weight.copy()
    weight[3:] = 0
    model.graph.initializer[0].raw_data = weight.tobytes()
    found = PointwiseDepthwise(rank=2).project(conv_of(model), statistics).weight[0]
    assert found[:3].any()
    assert not found[3:].any()
