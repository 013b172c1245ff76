from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from correlated import conv_of, correlated, dense_again, lost, oracle, rewrite
from helpers import conv_model, largest_gap, operators, run_passes

from edgecc.calibration.statistics import Statistics
from edgecc.errors import UsageError
from passes.decompose.dac import Dac

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
}


def test_a_convolution_becomes_depthwise_and_pointwise() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decisions = run_passes(model, "dac(rank=2)")
    assert operators(rewritten) == ["Conv 16x1x3x3 s2 p1 g8", "Conv 12x16x1x1 bias"]
    assert decisions[0].options == {"rank": 2}
    assert decisions[0].made == ("conv.conv0", "conv.conv1")


def test_a_grouped_convolution_keeps_its_groups_in_the_pointwise_half() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (3, 3), groups=2), "dac(rank=3)")
    assert operators(rewritten) == ["Conv 24x1x3x3 g8", "Conv 12x12x1x1 g2 bias"]


def test_the_rank_is_cut_to_what_there_is() -> None:
    assert run_passes(conv_model(12, 8, (3, 3)), "dac(rank=50)")[1][0].options == {"rank": 9}
    assert run_passes(conv_model(4, 8, (3, 3)), "dac(rank=50)")[1][0].options == {"rank": 4}


def test_a_pointwise_convolution_is_refused() -> None:
    decision = run_passes(conv_model(12, 8, (1, 1)), "dac(rank=1)")[1][0]
    assert decision.refusal == "its kernel is 1x1 (basis works on 1x1)"


def test_separable_filters_are_exact_at_rank_one() -> None:
    model = conv_model(6, 8, (3, 3), bias=False)
    random = np.random.default_rng(0)
    weight = random.standard_normal((6, 8, 1, 1)) * random.standard_normal((1, 8, 3, 3))
    model.graph.initializer[0].raw_data = weight.astype(np.float32).tobytes()
    rewritten, decisions = run_passes(model, "dac(energy=0.999999)")
    assert decisions[0].options == {"rank": 1}
    assert largest_gap(model, rewritten) < 1e-5


@pytest.mark.parametrize("text", ["dac(rank=0)", "dac(energy=0)", "dac(energy=1.5)"])
def test_ranks_and_energies_that_mean_nothing_are_errors(text: str) -> None:
    with pytest.raises(UsageError):
        run_passes(conv_model(4, 4, (3, 3)), text)


def test_rank_and_energy_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="not both"):
        run_passes(conv_model(4, 4, (3, 3)), "dac(rank=2, energy=0.5)")


def test_a_convolution_that_reads_an_image_is_left_alone_by_an_energy() -> None:
    model = conv_model(32, 3, (3, 3))
    decision = run_passes(model, "dac(energy=0.5)")[1][0]
    assert decision.refusal == "it reads 3 channels only; give a rank to insist"
    assert run_passes(model, "dac(rank=1)")[1][0].applied


def test_a_rewrite_that_saves_too_little_is_left_undone() -> None:
    model = conv_model(32, 32, (3, 3))
    share = 5 * (9 + 32) / (9 * 32)
    rank = {"rank": 5}
    weight = np.random.default_rng(0).standard_normal((32, 32, 9)) * (0.5 ** np.arange(9))
    model.graph.initializer[0].raw_data = weight.astype(np.float32).tobytes()
    free = run_passes(model, "dac(energy=0.9985)")[1][0]
    assert free.options == rank
    assert run_passes(model, f"dac(energy=0.9985, at_most={share + 0.01})")[1][0].options == rank
    assert run_passes(model, f"dac(energy=0.9985, at_most={share - 0.01})")[1][0].refusal


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curve_is_what_every_rank_reaches(shape: str) -> None:
    conv = conv_of(conv_model(**SHAPES[shape]))
    for statistics in (Statistics.identity(conv), correlated(conv, dead=(0,), twins=True)):
        curve = Dac().curve(conv, statistics)
        assert curve == sorted(curve, reverse=True)
        assert curve[-1] == 0
        for rank, error in enumerate(curve, 1):
            assert abs(Dac(rank=rank).project(conv, statistics).error - error) < 1e-11


def test_the_reference_finds_the_same() -> None:
    conv = conv_of(conv_model(16, 8, (3, 3)))
    statistics = correlated(conv)
    for rank in (1, 2, 5):
        found = Dac(rank=rank).project(conv, statistics)
        weight, covariance = conv.matrix()[0], statistics.covariance[0]
        expected = oracle().dac_refit(weight, covariance, found.factors[0][0], 8)[0]
        np.testing.assert_allclose(found.weight[0], expected, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_statistics_change_the_pointwise_half_alone(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    conv = conv_of(model)
    statistics = correlated(conv)
    found = Dac(rank=2).project(conv, statistics)
    free = Dac(rank=2).project(conv, Statistics.identity(conv))
    assert found.factors[0].tobytes() == free.factors[0].tobytes()
    assert found.error < lost(conv, statistics, free.weight)
    rewritten, decision = rewrite(model, Dac(rank=2), statistics)
    assert decision.error == found.error
    assert largest_gap(dense_again(model, found, statistics), rewritten) < 5e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_full_rank_is_exact_under_any_statistics(shape: str) -> None:
    model = conv_model(**SHAPES[shape])
    conv = conv_of(model)
    steep = correlated(conv, dead=(0,), twins=True)
    steep.covariance[...] *= np.outer(*[np.logspace(0, -5, conv.patch_size)] * 2)
    rewritten, decision = rewrite(model, Dac(rank=10**6), steep)
    assert decision.error == 0
    assert largest_gap(model, rewritten) < 5e-6


def test_inputs_that_do_not_hang_together_change_nothing() -> None:
    conv = conv_of(conv_model(16, 8, (3, 3)))
    white = Statistics(np.zeros((1, 72)), 3 * np.eye(72)[None])
    found = Dac(rank=2).project(conv, white)
    free = Dac(rank=2).project(conv, Statistics.identity(conv))
    np.testing.assert_allclose(found.weight, free.weight, atol=1e-12)


def test_filters_of_zero_stay_zero() -> None:
    model = conv_model(12, 8, (3, 3))
    model.graph.initializer[0].raw_data = np.zeros((12, 8, 3, 3), np.float32).tobytes()
    found = Dac(rank=2).project(conv_of(model), correlated(conv_of(model)))
    assert found.error == 0
    assert not found.weight.any()
