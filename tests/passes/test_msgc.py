from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from correlated import conv_of, correlated, dense_again, lost, oracle, refitted, rewrite
from helpers import conv_model, largest_gap, normal, operators, parse

from edgecc.calibration.statistics import Statistics
from edgecc.errors import UsageError
from edgecc.layers import dense
from edgecc.pipeline import Pipeline
from passes.decompose.channel_prune import ChannelPrune
from passes.decompose.clusters import cluster
from passes.decompose.msgc import Msgc

SHAPES: dict[str, dict[str, Any]] = {
    "3x3": {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "strided": {"kernel": (3, 3), "strides": (2, 1), "pads": (1, 1, 1, 1)},
    "uneven pads": {"kernel": (3, 3), "pads": (0, 1, 2, 0)},
    "dilated 5x5": {"kernel": (5, 5), "dilations": (1, 2)},
    "even": {"kernel": (2, 4), "pads": (1, 0, 0, 2)},
    "1x1": {"kernel": (1, 1)},
    "grouped": {"kernel": (3, 3), "groups": 2},
    "1-D": {"kernel": (5,)},
    "3-D": {"kernel": (3, 3, 3), "size": 5},
}


def test_a_convolution_becomes_one_grouped_convolution() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decision = rewrite(model, Msgc(keep=5))
    assert operators(rewritten) == ["Gather", "Conv 12x5x3x3 s2 p1 g4 bias", "Gather"]
    assert decision.options == {"keep": 5}


def test_contiguous_heads_need_no_order_behind() -> None:
    rewritten, _ = rewrite(conv_model(12, 8, (3, 3)), Msgc(keep=5, heads=2, clustered=False))
    assert operators(rewritten) == ["Gather", "Conv 12x5x3x3 g2 bias"]
    assert len(rewritten.graph[0].inputs[1].const_value.numpy()) == 10


def test_each_group_has_heads_of_its_own() -> None:
    rewritten, _ = rewrite(conv_model(12, 8, (3, 3), groups=2), Msgc(keep=3, heads=3))
    assert operators(rewritten) == ["Gather", "Conv 12x3x3x3 g6 bias", "Gather"]
    channels, order = (rewritten.graph[i].inputs[1].const_value.numpy() for i in (0, 2))
    assert (channels[:9] < 4).all()
    assert (channels[9:] >= 4).all()
    assert sorted(order[:6]) == list(range(6))


@pytest.mark.parametrize("shape", SHAPES)
def test_all_channels_are_the_convolution_itself(shape: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **SHAPES[shape]})
    for clustered in (True, False):
        rule = Msgc(keep=8, heads=2, clustered=clustered)
        rewritten, decision = rewrite(model, rule, correlated(conv_of(model)))
        assert decision.error == 0
        assert rewritten.graph.num_nodes() == 1
        assert largest_gap(model, rewritten) == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_operators_compute_the_projection(shape: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **SHAPES[shape]})
    conv = conv_of(model)
    for rule in (Msgc(3, 3), Msgc(3, 6, clustered=False), Msgc(2, 1)):
        for statistics in (correlated(conv), Statistics.identity(conv)):
            rewritten, _ = rewrite(model, rule, statistics)
            wanted = dense_again(model, rule.project(conv, statistics), statistics)
            assert largest_gap(wanted, rewritten) < 1e-5


def test_what_it_refuses() -> None:
    depthwise = rewrite(conv_model(8, 8, (3, 3), groups=8), Msgc(keep=1))[1]
    assert depthwise.refusal == "it is depthwise: every filter reads one channel"
    uneven = rewrite(conv_model(10, 8, (3, 3)), Msgc(keep=2))[1]
    assert uneven.refusal == "4 heads do not divide its 10 outputs"
    assert Msgc().choices(conv_of(conv_model(10, 8, (3, 3))), 1) == []
    text = "g (float[2,8] x) => (float[2,4] y) { y = Gemm <transB=1> (x, w) }"
    full = rewrite(parse(text, {"w": normal(4, 8)}), Msgc(keep=2))[1]
    assert full.refusal == "it is fully connected: it has no groups"


def test_options_that_mean_nothing_are_errors() -> None:
    with pytest.raises(UsageError, match=r"write msgc\(keep=4\)"):
        rewrite(conv_model(12, 8, (3, 3)), Msgc())
    with pytest.raises(UsageError, match="the smallest keep is 1"):
        Msgc(keep=0)
    with pytest.raises(UsageError, match="the smallest number of heads is 1"):
        Msgc(heads=0)


def test_options_round_trip() -> None:
    for text in ("msgc", "msgc(keep=4)", "msgc(keep=16, heads=8, clustered=False)"):
        assert str(Pipeline.parse(text, {"msgc": Msgc})) == text


def test_the_cost_is_the_share_of_the_channels() -> None:
    conv = conv_of(conv_model(12, 64, (3, 3)))
    choices = Msgc().choices(conv, 8)
    assert [choice.keep for choice in choices] == [8, 16, 24, 32, 40, 48, 56]
    layers = choices[1].layers(conv, (14, 14))
    assert [layer.operator for layer in layers] == ["Gather", "Conv", "Gather"]
    assert layers[0].y == (64, 14, 14)
    assert sum(layer.macs for layer in layers) * 4 == dense(conv, (14, 14))[0].macs


def test_contiguous_heads_are_those_of_the_reference() -> None:
    wls = oracle()
    conv = conv_of(conv_model(12, 16, (3, 3)))
    statistics = correlated(conv)
    weight, covariance = conv.matrix()[0], statistics.covariance[0]
    for keep in (4, 8, 12):
        theirs, (outs, _, masks) = wls.msgc(weight, covariance, 16, 3, keep)
        ours = Msgc(keep, 3, clustered=False).project(conv, statistics)
        support = np.stack([masks[head] for head in outs])
        assert ours.error <= wls.err(weight, theirs, covariance) + 1e-9
        if np.array_equal(ours.weight[0] != 0, support):  # else magnitude did better
            np.testing.assert_allclose(ours.weight[0], theirs, atol=1e-5)
        free = wls.msgc(weight, covariance, 16, 3, keep, data_aware=False)[0]
        alone = Msgc(keep, 3, clustered=False).project(conv, Statistics.identity(conv))
        assert np.array_equal(alone.weight[0], free)


def test_outputs_that_need_the_same_channels_share_a_head() -> None:
    random = np.random.default_rng(0)
    labels = random.permutation(24) % 4
    energy = np.eye(4)[labels].repeat(8, axis=1) + 0.3 * random.random((24, 32))
    found = cluster(energy * random.random((24, 1)), 4)
    assert np.array_equal(found[:, None] == found, labels[:, None] == labels)
    model = conv_model(24, 32, (3, 3))
    weight = normal(24, 32, 3, 3) * energy[:, :, None, None].astype(np.float32) ** 4
    model.graph.initializer[0].raw_data = weight.tobytes()
    conv = conv_of(model)
    for statistics in (correlated(conv), Statistics.identity(conv)):
        together = Msgc(8).project(conv, statistics).error
        assert together < 0.5 * Msgc(8, clustered=False).project(conv, statistics).error


def test_one_head_is_channel_prune() -> None:
    model = conv_model(12, 16, (3, 3))
    conv = conv_of(model)
    statistics = correlated(conv)
    rewritten, _ = rewrite(model, Msgc(5, heads=1), statistics)
    assert operators(rewritten) == ["Gather", "Conv 12x5x3x3 bias"]
    pruned = ChannelPrune(5).project(conv, statistics).weight
    assert np.array_equal(Msgc(5, heads=1).project(conv, statistics).weight, pruned)


@pytest.mark.parametrize("clustered", [True, False])
def test_errors_fall_with_the_channels_and_are_those_of_the_projections(clustered: bool) -> None:
    for groups in (1, 2):
        conv = conv_of(conv_model(16, 32, (3, 3), groups=groups))
        for statistics in (correlated(conv), Statistics.identity(conv)):
            choices = [Msgc(keep, clustered=clustered) for keep in (3, 7, 12, 16)]
            errors = Msgc(clustered=clustered).errors(conv, statistics, choices)
            projected = [choice.project(conv, statistics).error for choice in choices]
            assert errors == sorted(errors, reverse=True)
            np.testing.assert_allclose(errors, projected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("clustered", [True, False])
def test_statistics_never_do_worse_than_the_weights_alone(clustered: bool) -> None:
    conv = conv_of(conv_model(16, 16, (3, 3)))
    statistics = correlated(conv)
    for keep in (2, 4, 8, 12, 15):
        rule = Msgc(keep, clustered=clustered)
        aware = rule.project(conv, statistics)
        free = rule.project(conv, Statistics.identity(conv)).weight
        again = refitted(conv, statistics, free != 0)
        assert aware.error <= lost(conv, statistics, again) + 1e-12
        assert aware.error < lost(conv, statistics, free)
        assert abs(aware.error - lost(conv, statistics, aware.weight)) < 1e-12


def test_dead_and_equal_channels_and_weights_of_zero() -> None:
    model = conv_model(8, 8, (3, 3))
    conv = conv_of(model)
    assert rewrite(model, Msgc(6), correlated(conv, dead=(0, 3)))[1].error < 1e-3
    assert rewrite(model, Msgc(4), correlated(conv, twins=True))[1].error < 1e-3
    model.graph.initializer[0].raw_data = np.zeros((8, 8, 3, 3), np.float32).tobytes()
    for statistics in (correlated(conv), None):
        rewritten, decision = rewrite(model, Msgc(3), statistics)
        assert decision.error == 0
        assert largest_gap(model, rewritten) == 0
