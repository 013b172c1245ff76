from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from correlated import conv_of, correlated, dense_again, lost, oracle, refitted, rewrite
from helpers import conv_model, largest_gap, operators

from edgecc.calibration.statistics import Statistics
from edgecc.errors import UsageError
from edgecc.layers import dense
from edgecc.pipeline import Pipeline
from passes.decompose.hetconv import TOPOLOGIES, Hetconv

WINDOWS: dict[str, dict[str, Any]] = {
    "padded": {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "strided": {"kernel": (3, 3), "pads": (1, 1, 1, 1), "strides": (2, 2)},
    "uneven pads": {"kernel": (3, 3), "pads": (1, 2, 3, 1), "strides": (2, 1)},
    "dilated": {"kernel": (3, 3), "pads": (2, 3, 2, 3), "dilations": (2, 3)},
    "5x5": {"kernel": (5, 5), "pads": (2, 2, 2, 2)},
    "1x3": {"kernel": (1, 3), "pads": (0, 1, 0, 1)},
    "1-D": {"kernel": (5,), "pads": (2, 4)},
    "3-D": {"kernel": (3, 3, 3), "size": 5, "pads": (1,) * 6},
}


def test_a_convolution_becomes_a_grouped_and_a_pointwise_one() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decision = rewrite(model, Hetconv(parts=4))
    assert operators(rewritten) == [
        "Gather",
        "Conv 12x2x3x3 s2 p1 g4",
        "Gather",
        "Conv 12x8x1x1 s2 bias",
        "Add",
    ]
    assert decision.options == {"parts": 4}


def test_contiguous_parts_need_no_gather() -> None:
    model = conv_model(12, 8, (3, 3), pads=(2, 2, 2, 2))
    rewritten, _ = rewrite(model, Hetconv(topology="contiguous"))
    assert operators(rewritten) == ["Conv 12x4x3x3 p2 g2", "Conv 12x8x1x1 p1 bias", "Add"]


@pytest.mark.parametrize("window", WINDOWS)
def test_one_part_is_the_convolution_itself(window: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **WINDOWS[window]})
    rewritten, decision = rewrite(model, Hetconv(parts=1), correlated(conv_of(model)))
    assert decision.error == 0
    assert operators(rewritten) == operators(rewrite(model, Hetconv(parts=5))[0])
    assert largest_gap(model, rewritten) == 0


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_operators_compute_the_projection(window: str, topology: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **WINDOWS[window]})
    conv = conv_of(model)
    for rule in (Hetconv(2, topology), Hetconv(4, topology)):
        for statistics in (correlated(conv), Statistics.identity(conv)):
            rewritten, _ = rewrite(model, rule, statistics)
            wanted = dense_again(model, rule.project(conv, statistics), statistics)
            assert largest_gap(wanted, rewritten) < 1e-5


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"kernel": (1, 1)}, "its kernel is 1x1 (basis works on 1x1)"),
        ({"kernel": (3, 3), "groups": 2}, "it has 2 groups already"),
        ({"kernel": (3, 3), "groups": 8, "out_channels": 8}, "it has 8 groups already"),
        ({"kernel": (2, 3), "pads": (1, 1, 1, 1)}, "its kernel is 2x3: it has no centre"),
        ({"kernel": (3, 3), "out_channels": 7}, "2 parts do not divide 8 channels and 7 outputs"),
        ({"kernel": (3, 3), "in_channels": 3}, "2 parts do not divide 3 channels and 12 outputs"),
        ({"kernel": (3, 3)}, "its pads are less than half its kernel"),
        ({"kernel": (3, 3), "pads": (0, 0, 1, 1)}, "its pads are less than half its kernel"),
        ({"kernel": (3, 3), "pads": (1, 1, 1, 0)}, "its pads are less than half its kernel"),
    ],
)
def test_what_it_refuses(shape: dict[str, Any], reason: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **shape})
    rewritten, decision = rewrite(model, Hetconv())
    assert decision.refusal == reason
    assert rewritten.graph.num_nodes() == 1
    assert Hetconv().choices(conv_of(model), 1) == []


def test_options_that_mean_nothing_are_errors() -> None:
    with pytest.raises(UsageError, match="smallest number of parts is 1"):
        Hetconv(parts=0)
    with pytest.raises(UsageError, match="did you mean shifted"):
        Hetconv(topology="shiftet")


def test_options_round_trip() -> None:
    for text in ("hetconv", "hetconv(parts=4)", "hetconv(parts=8, topology=shifted)"):
        assert str(Pipeline.parse(text, {"hetconv": Hetconv})) == text


def test_the_cost_is_equation_5_and_the_zeros_of_the_pointwise_half() -> None:
    conv = conv_of(conv_model(64, 32, (3, 3), pads=(1, 1, 1, 1)))
    whole = dense(conv, (14, 14))[0].macs
    for parts in (2, 4, 8, 16):
        layers = Hetconv(parts).layers(conv, (14, 14))
        equation_5 = 1 / parts + (1 - 1 / parts) / 9
        zeros = 1 / parts / 9
        share = sum(layer.macs for layer in layers) / whole
        assert abs(share - equation_5 - zeros) < 1e-12
        assert [layer.operator for layer in layers] == ["Gather", "Conv", "Gather", "Conv", "Add"]


@pytest.mark.parametrize("topology", ["shifted", "contiguous"])
def test_given_parts_are_fitted_as_the_reference_does(topology: str) -> None:
    wls = oracle()
    conv = conv_of(conv_model(16, 24, (3, 3), pads=(1, 1, 1, 1)))
    statistics = correlated(conv)
    rule = Hetconv(4, topology)
    classes, parts = (wls.het_default if topology == "shifted" else wls.het_contig)(16, 24, 4)
    covariance = statistics.covariance[0]
    wanted = wls.masked_ls(conv.matrix()[0], covariance, wls.het_masks(24, 9, 4, parts), classes)
    assert np.abs(rule.project(conv, statistics).weight[0] - wanted).max() < 1e-6
    free = wls.hard_mask(conv.matrix()[0], wls.het_masks(24, 9, 4, parts), classes)
    assert np.array_equal(rule.project(conv, Statistics.identity(conv)).weight[0], free)


def test_errors_rise_with_the_parts_and_are_those_of_the_projections() -> None:
    conv = conv_of(conv_model(32, 32, (3, 3), pads=(1, 1, 1, 1)))
    for statistics in (correlated(conv), Statistics.identity(conv)):
        for topology in TOPOLOGIES:
            choices = Hetconv(topology=topology).choices(conv, 8)
            assert [choice.parts for choice in choices] == [16, 8, 4, 2]
            errors = choices[0].errors(conv, statistics, choices)
            assert errors == sorted(errors, reverse=True)
            projected = [choice.project(conv, statistics).error for choice in choices]
            np.testing.assert_allclose(errors, projected, rtol=1e-9)


@pytest.mark.parametrize("parts", [2, 4])
def test_statistics_never_do_worse_than_the_weights_alone(parts: int) -> None:
    conv = conv_of(conv_model(24, 16, (3, 3), pads=(1, 1, 1, 1)))
    statistics = correlated(conv)
    for topology in TOPOLOGIES:
        rule = Hetconv(parts, topology)
        aware = rule.project(conv, statistics)
        free = rule.project(conv, Statistics.identity(conv)).weight
        again = refitted(conv, statistics, free != 0)
        assert aware.error <= lost(conv, statistics, again) + 1e-12
        assert aware.error < 0.8 * lost(conv, statistics, free)
        assert abs(aware.error - lost(conv, statistics, aware.weight)) < 1e-12


def test_white_statistics_say_what_none_say() -> None:
    conv = conv_of(conv_model(24, 16, (3, 3), pads=(1, 1, 1, 1)))
    white = Statistics(np.zeros((1, 144)), 3.0 * np.eye(144)[None])
    free = Hetconv(4).project(conv, Statistics.identity(conv))
    assert np.abs(Hetconv(4).project(conv, white).weight - free.weight).max() < 1e-9


def test_dead_and_equal_channels_and_weights_of_zero() -> None:
    model = conv_model(8, 8, (3, 3), pads=(1, 1, 1, 1))
    for statistics in (
        correlated(conv_of(model), dead=(0, 3)),
        correlated(conv_of(model), twins=True),
    ):
        rewritten, decision = rewrite(model, Hetconv(4), statistics)
        assert 0 < decision.error < 0.5
        assert all(
            np.isfinite(v.const_value.numpy()).all() for v in rewritten.graph.initializers.values()
        )
    model.graph.initializer[0].raw_data = np.zeros((8, 8, 3, 3), np.float32).tobytes()
    rewritten, decision = rewrite(model, Hetconv(4), correlated(conv_of(model)))
    assert decision.error == 0
    assert largest_gap(model, rewritten) == 0
