from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from correlated import conv_of, correlated, dense_again, lost, oracle, rewrite
from helpers import conv_model, largest_gap, operators, run_passes

from edgecc.calibration.statistics import Statistics
from passes.decompose import depthwise
from passes.decompose.dac import Dac, Refit, singular_filters
from passes.decompose.depthwise import Depthwise

SHAPES: dict[str, dict[str, Any]] = {
    "3x3": {"out_channels": 16, "in_channels": 8, "kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "grouped, strided": {
        "out_channels": 24,
        "in_channels": 8,
        "kernel": (3, 3),
        "groups": 2,
        "strides": (2, 2),
    },
    "5x5 dilated": {
        "out_channels": 32,
        "in_channels": 4,
        "kernel": (5, 5),
        "dilations": (1, 2),
        "pads": (0, 1, 2, 0),
    },
    "fewer filters than taps": {"out_channels": 5, "in_channels": 6, "kernel": (3, 3)},
    "two channels": {"out_channels": 12, "in_channels": 2, "kernel": (3, 3)},
    "1-D": {"out_channels": 12, "in_channels": 8, "kernel": (5,)},
}


def test_it_makes_what_dac_makes() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    statistics = correlated(conv_of(model))
    rewritten, decision = rewrite(model, Depthwise(rank=2), statistics)
    assert operators(rewritten) == ["Conv 16x1x3x3 s2 p1 g8", "Conv 12x16x1x1 bias"]
    assert decision.options == {"rank": 2}


def test_pointwise_and_depthwise_convolutions_are_refused() -> None:
    decision = run_passes(conv_model(12, 8, (1, 1)), "depthwise(rank=1)")[1][0]
    assert decision.refusal == "its kernel is 1x1 (basis works on 1x1)"
    decision = run_passes(conv_model(8, 8, (3, 3), groups=8), "depthwise(rank=1)")[1][0]
    assert decision.refusal == "it is depthwise already"


@pytest.mark.parametrize("shape", SHAPES)
def test_without_statistics_it_is_dac(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    nothing = Statistics.identity(conv)
    found, expected = (kind(rank=2).project(conv, nothing) for kind in (Depthwise, Dac))
    assert found.weight.tobytes() == expected.weight.tobytes()
    choices = [Depthwise(rank=rank) for rank in (1, 2)]
    assert Depthwise().errors(conv, nothing, choices) == Dac().errors(conv, nothing, choices)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_never_worse_than_dac_and_falls_with_the_rank(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    for statistics in (correlated(conv), correlated(conv, dead=(0,), twins=True)):
        ranks = range(1, Depthwise().full_rank(conv) + 1)
        errors = [Depthwise(rank=rank).project(conv, statistics).error for rank in ranks]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] == 0
        for rank, error in zip(ranks, errors, strict=True):
            assert error <= Dac(rank=rank).project(conv, statistics).error + 1e-12
            free = Dac(rank=rank).project(conv, Statistics.identity(conv))
            assert error <= lost(conv, statistics, free.weight) + 1e-12


def test_where_the_fit_is_worse_than_dac_it_is_dac(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = conv_of(conv_model(12, 8, (3, 3)))
    statistics = correlated(conv)
    block = next(iter(statistics.blocks(conv)))
    weakest = singular_filters(block)[:, -2:]
    poor = (weakest, Refit.of(block, weakest))
    monkeypatch.setattr(depthwise._Fit, "run", lambda self, rank, rounds: poor)
    found = Depthwise(rank=2).project(conv, statistics)
    assert found.weight.tobytes() == Dac(rank=2).project(conv, statistics).weight.tobytes()


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
def test_it_reaches_what_the_reference_reaches(rank: int) -> None:
    conv = conv_of(conv_model(40, 40, (3, 3)))  # more channels than are updated at once
    statistics = correlated(conv)
    weight, covariance = conv.matrix()[0], statistics.covariance[0]
    expected = oracle().dac(weight, covariance, rank, 40, sweeps=3, joint=1)[0]
    found = Depthwise(rank=rank).project(conv, statistics).error
    assert found < 1.01 * oracle().err(weight, expected, covariance)


def test_how_many_channels_are_updated_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conv = conv_of(conv_model(12, 10, (3, 3)))
    statistics = correlated(conv)
    found = []
    for at_once in (1, 3, 32):
        monkeypatch.setattr(depthwise, "AT_ONCE", at_once)
        found.append(Depthwise(rank=2).project(conv, statistics).weight)
    np.testing.assert_allclose(found[0], found[2], atol=1e-9)
    np.testing.assert_allclose(found[1], found[2], atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_planner_hears_of_nearly_the_same_errors(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    statistics = correlated(conv)
    full = Depthwise().full_rank(conv)
    choices = [Depthwise(rank=rank) for rank in (1, 2, full - 1, full)]
    heard = Depthwise().errors(conv, statistics, choices)
    for choice, error in zip(choices, heard, strict=True):
        reached = choice.project(conv, statistics).error
        assert reached - 1e-12 < error < 1.05 * reached + 1e-12
    assert Depthwise().errors(conv, statistics, []) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_the_operators_compute_what_was_fitted(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    statistics = correlated(conv_of(model))
    rewritten, decision = rewrite(model, Depthwise(rank=2), statistics)
    found = Depthwise(rank=2).project(conv_of(model), statistics)
    assert decision.error == found.error
    assert largest_gap(dense_again(model, found, statistics), rewritten) < 5e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_full_rank_is_exact_under_any_statistics(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    conv = conv_of(model)
    steep = correlated(conv, dead=(0,), twins=True)
    steep.covariance[...] *= np.outer(*[np.logspace(0, -5, conv.patch_size)] * 2)
    rewritten, decision = rewrite(model, Depthwise(rank=10**6), steep)
    assert decision.error == 0
    assert largest_gap(model, rewritten) < 5e-6


def test_inputs_that_do_not_hang_together_change_little() -> None:
    conv = conv_of(conv_model(16, 8, (3, 3)))
    sample = np.random.default_rng(2).standard_normal((20 * conv.patch_size, conv.patch_size))
    white = Statistics.of_moments(np.zeros((1, 72)), np.cov(sample.T)[None], len(sample))
    for rank in (1, 3, 6):
        aware = Depthwise(rank=rank).project(conv, white).weight
        free = Depthwise(rank=rank).project(conv, Statistics.identity(conv))
        assert abs(lost(conv, Statistics.identity(conv), aware) / free.error - 1) < 0.07


def test_the_same_bytes_every_time_and_nothing_from_nothing() -> None:
    model = conv_model(12, 8, (3, 3))
    conv = conv_of(model)
    statistics = correlated(conv)
    first, second = (Depthwise(rank=2).project(conv, statistics) for _ in range(2))
    assert first.weight.tobytes() == second.weight.tobytes()
    model.graph.initializer[0].raw_data = np.zeros((12, 8, 3, 3), np.float32).tobytes()
    nothing = Depthwise(rank=2).project(conv_of(model), statistics)
    assert nothing.error == 0
    assert not nothing.weight.any()
    assert Depthwise().errors(conv_of(model), statistics, [Depthwise(rank=1)]) == [0]


def test_one_channel_has_a_closed_form() -> None:
    conv = conv_of(conv_model(12, 1, (3, 3)))
    statistics = correlated(conv)
    root = np.linalg.cholesky(statistics.covariance[0])
    energy = np.linalg.svd(conv.matrix()[0] @ root, compute_uv=False) ** 2
    for rank in (1, 4):
        found = Depthwise(rank=rank).project(conv, statistics).error
        assert abs(found - energy[rank:].sum() / energy.sum()) < 1e-12
