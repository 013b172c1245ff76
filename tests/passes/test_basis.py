from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from correlated import conv_of, correlated, dense_again, lost, oracle, rewrite
from helpers import conv_model, largest_gap, operators, run_passes

from edgecc.calibration.statistics import Statistics
from passes.decompose.basis import Basis

SHAPES: dict[str, dict[str, Any]] = {
    "3x3": {"out_channels": 12, "in_channels": 8, "kernel": (3, 3)},
    "more filters than they see": {"out_channels": 24, "in_channels": 6, "kernel": (1, 1)},
    "grouped": {"out_channels": 12, "in_channels": 8, "kernel": (3, 3), "groups": 2},
    "grouped, more filters": {"out_channels": 24, "in_channels": 8, "kernel": (1, 1), "groups": 2},
    "5x5 strided, dilated": {
        "out_channels": 7,
        "in_channels": 4,
        "kernel": (5, 5),
        "strides": (2, 1),
        "dilations": (1, 2),
    },
}


def test_a_convolution_becomes_basis_filters_and_a_mix_of_them() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decisions = run_passes(model, "basis(rank=4)")
    assert operators(rewritten) == ["Conv 4x8x3x3 s2 p1", "Conv 12x4x1x1 bias"]
    assert decisions[0].options == {"rank": 4}


def test_each_group_has_a_basis_of_its_own() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (3, 3), groups=2), "basis(rank=3)")
    assert operators(rewritten) == ["Conv 6x4x3x3 g2", "Conv 12x3x1x1 g2 bias"]


def test_a_pointwise_convolution_becomes_two() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (1, 1)), "basis(rank=2)")
    assert operators(rewritten) == ["Conv 2x8x1x1", "Conv 12x2x1x1 bias"]


def test_a_depthwise_convolution_is_refused() -> None:
    decision = run_passes(conv_model(8, 8, (3, 3), groups=8), "basis(rank=1)")[1][0]
    assert decision.refusal == "it is depthwise: its filters have no basis in common"


def test_the_filters_are_orthonormal() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (3, 3)), "basis(rank=5)")
    filters = rewritten.graph[0].inputs[1].const_value.numpy().reshape(5, -1).astype(np.float64)
    np.testing.assert_allclose(filters @ filters.T, np.eye(5), atol=1e-6)


def test_the_error_is_the_tail_of_the_spectrum() -> None:
    model = conv_model(12, 8, (3, 3))
    weight = np.frombuffer(model.graph.initializer[0].raw_data, np.float32).reshape(12, -1)
    energy = np.linalg.svd(weight.astype(np.float64), compute_uv=False) ** 2
    decision = run_passes(model, "basis(rank=5)")[1][0]
    assert abs(decision.error - energy[5:].sum() / energy.sum()) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curve_is_what_every_rank_reaches(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    for statistics in (Statistics.identity(conv), correlated(conv)):
        curve = Basis().curve(conv, statistics)
        assert len(curve) == Basis().full_rank(conv)
        for rank, error in enumerate(curve, 1):
            found = Basis(rank=rank).project(conv, statistics)
            assert abs(found.error - error) < 1e-12
            for filters in found.factors[0]:
                np.testing.assert_allclose(filters @ filters.T, np.eye(rank), atol=1e-12)
        assert curve == sorted(curve, reverse=True)
        assert curve[-1] == 0


@pytest.mark.parametrize("shape", ["3x3", "more filters than they see"])
def test_the_reference_finds_the_same(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    statistics = correlated(conv)
    for rank in (1, 3, 5):
        expected = oracle().basis(conv.matrix()[0], statistics.covariance[0], rank)[0]
        found = Basis(rank=rank).project(conv, statistics)
        np.testing.assert_allclose(found.weight[0], expected, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_statistics_lower_the_error_under_them(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    conv = conv_of(model)
    statistics = correlated(conv)
    found = Basis(rank=3).project(conv, statistics)
    free = Basis(rank=3).project(conv, Statistics.identity(conv))
    assert found.error < lost(conv, statistics, free.weight)
    rewritten, decision = rewrite(model, Basis(rank=3), statistics)
    assert decision.error == found.error
    assert largest_gap(dense_again(model, found, statistics), rewritten) < 5e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_full_rank_is_exact_under_any_statistics(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    conv = conv_of(model)
    steep = correlated(conv, dead=(0,), twins=True)
    steep.covariance[...] *= np.outer(*[np.logspace(0, -5, conv.patch_size)] * 2)
    rewritten, decision = rewrite(model, Basis(rank=10**6), steep)
    assert decision.error == 0
    assert largest_gap(model, rewritten) < 5e-6
    found = Basis(rank=10**6).project(conv, steep).weight
    np.testing.assert_allclose(found, conv.matrix(), atol=1e-13)


def test_inputs_that_do_not_hang_together_change_little() -> None:
    for out_channels, kernel in ((16, (3, 3)), (80, (1, 1))):
        conv = conv_of(conv_model(out_channels, 16, kernel))
        size = conv.patch_size
        sample = np.random.default_rng(2).standard_normal((100 * size, size))
        white = Statistics.of_moments(np.zeros((1, size)), np.cov(sample.T)[None], len(sample))
        aware = Basis(rank=5).project(conv, white).weight
        free = Basis(rank=5).project(conv, Statistics.identity(conv)).error
        assert abs(lost(conv, Statistics.identity(conv), aware) / free - 1) < 0.07


def test_filters_of_zero_stay_zero() -> None:
    for kernel in ((3, 3), (1, 1)):
        model = conv_model(24, 8, kernel)
        model.graph.initializer[0].raw_data = np.zeros((24, 8, *kernel), np.float32).tobytes()
        found = Basis(rank=2).project(conv_of(model), correlated(conv_of(model)))
        assert found.error == 0
        assert not found.weight.any()
