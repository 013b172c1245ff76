from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from correlated import conv_of, correlated, dense_again, lost, oracle, refitted, rewrite
from helpers import conv_model, largest_gap, normal, operators, parse

from edgecc.calibration.statistics import Statistics
from edgecc.errors import UsageError
from edgecc.layers import dense
from edgecc.pipeline import Pipeline
from passes.decompose import obs
from passes.decompose.channel_prune import ChannelPrune

ALL = 10**6
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


def test_a_convolution_reads_some_of_its_channels() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decision = rewrite(model, ChannelPrune(keep=5))
    assert operators(rewritten) == ["Gather", "Conv 12x5x3x3 s2 p1 bias"]
    assert decision.options == {"keep": 5}


def test_each_group_reads_channels_of_its_own() -> None:
    rewritten, _ = rewrite(conv_model(12, 8, (3, 3), groups=2), ChannelPrune(keep=3))
    assert operators(rewritten) == ["Gather", "Conv 12x3x3x3 g2 bias"]
    index = rewritten.graph[0].inputs[1].const_value.numpy()
    assert (index[:3] < 4).all()
    assert (index[3:] >= 4).all()


def test_a_fully_connected_layer_reads_some_of_its_inputs() -> None:
    weights = {"w": normal(5, 8), "b": normal(5)}
    text = "g (float[2,8] x) => (float[2,5] y) { y = Gemm <transB=1> (x, w, b) }"
    model = parse(text, weights)
    rewritten, decision = rewrite(model, ChannelPrune(keep=6))
    assert operators(rewritten) == ["Gather", "Gemm"]
    assert largest_gap(model, rewritten) < 10
    assert 0 < decision.error < 0.25


@pytest.mark.parametrize("shape", SHAPES)
def test_all_channels_are_the_convolution_itself(shape: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **SHAPES[shape]})
    rewritten, decision = rewrite(model, ChannelPrune(keep=ALL), correlated(conv_of(model)))
    assert decision.error == 0
    assert decision.options == {"keep": 4 if shape == "grouped" else 8}
    assert rewritten.graph.num_nodes() == 1
    assert largest_gap(model, rewritten) == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_operators_compute_the_projection(shape: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **SHAPES[shape]})
    conv = conv_of(model)
    for statistics in (correlated(conv), Statistics.identity(conv)):
        rewritten, _ = rewrite(model, ChannelPrune(keep=3), statistics)
        wanted = dense_again(model, ChannelPrune(keep=3).project(conv, statistics), statistics)
        assert largest_gap(wanted, rewritten) < 1e-5


def test_depthwise_convolutions_are_refused() -> None:
    decision = rewrite(conv_model(8, 8, (3, 3), groups=8), ChannelPrune(keep=1))[1]
    assert decision.refusal == "it is depthwise: every filter reads one channel"


def test_how_many_has_to_be_said() -> None:
    with pytest.raises(UsageError, match=r"write channel_prune\(keep=4\)"):
        rewrite(conv_model(12, 8, (3, 3)), ChannelPrune())
    with pytest.raises(UsageError, match="the smallest keep is 1"):
        ChannelPrune(keep=0)


def test_options_round_trip() -> None:
    for text in ("channel_prune", "channel_prune(keep=4)"):
        assert str(Pipeline.parse(text, {"channel_prune": ChannelPrune})) == text


def test_choices_are_eighths_in_granules() -> None:
    conv = conv_of(conv_model(12, 64, (3, 3)))
    keeps = [[choice.keep for choice in ChannelPrune().choices(conv, g)] for g in (1, 8, 16, 64)]
    assert keeps == [[8, 16, 24, 32, 40, 48, 56]] * 2 + [[16, 32, 48], []]
    layers = ChannelPrune(keep=16).layers(conv, (14, 14))
    assert [layer.operator for layer in layers] == ["Gather", "Conv"]
    assert sum(layer.macs for layer in layers) * 4 == dense(conv, (14, 14))[0].macs


def test_the_channels_and_filters_are_those_of_the_reference() -> None:
    wls = oracle()
    conv = conv_of(conv_model(12, 16, (3, 3)))
    statistics = correlated(conv)
    (block,) = statistics.blocks(conv)
    columns = [np.arange(channel * 9, channel * 9 + 9) for channel in range(16)]
    for keep in (4, 8, 12):
        kept, _ = wls.obs_select(block.weight, block.dense_covariance, columns, keep)
        ranking = obs.eliminate(block.weight, block, obs.inverse(block), keep)
        assert ranking.first(keep).tolist() == kept
        mask = np.zeros((16, 9), bool)
        mask[kept] = True
        theirs = wls.masked_ls(
            block.weight, block.dense_covariance, [mask.ravel()], np.zeros(12, int)
        )
        found = ChannelPrune(keep).project(conv, statistics)
        assert found.error <= wls.err(block.weight, theirs, block.dense_covariance) + 1e-9
        np.testing.assert_allclose(
            obs.refit(block.weight, block, np.flatnonzero(mask)),
            theirs[:, mask.ravel()],
            atol=1e-5,  # its ridge
        )


def test_errors_fall_with_the_channels_and_are_those_of_the_projections() -> None:
    for groups in (1, 2):
        conv = conv_of(conv_model(16, 32, (3, 3), groups=groups))
        for statistics in (correlated(conv), Statistics.identity(conv)):
            choices = [ChannelPrune(keep) for keep in (3, 7, 12, 16)]
            errors = ChannelPrune().errors(conv, statistics, choices)
            projected = [choice.project(conv, statistics).error for choice in choices]
            assert errors == sorted(errors, reverse=True)
            np.testing.assert_allclose(errors, projected, rtol=1e-8, atol=1e-12)
    assert ChannelPrune().errors(conv, statistics, []) == []


def test_statistics_never_do_worse_than_the_weights_alone() -> None:
    conv = conv_of(conv_model(12, 16, (3, 3), groups=2))
    statistics = correlated(conv)
    for keep in range(1, 8):
        aware = ChannelPrune(keep).project(conv, statistics)
        free = ChannelPrune(keep).project(conv, Statistics.identity(conv)).weight
        again = refitted(conv, statistics, free != 0)
        assert aware.error <= lost(conv, statistics, again) + 1e-12
        assert aware.error < lost(conv, statistics, free)
        assert abs(aware.error - lost(conv, statistics, aware.weight)) < 1e-12


def test_dead_channels_go_first_and_cost_nothing() -> None:
    model = conv_model(12, 8, (3, 3))
    statistics = correlated(conv_of(model), dead=(1, 6))
    rewritten, decision = rewrite(model, ChannelPrune(keep=6), statistics)
    assert rewritten.graph[0].inputs[1].const_value.numpy().tolist() == [0, 2, 3, 4, 5, 7]
    assert decision.error < 1e-3  # the ridge


def test_of_equal_channels_one_stays() -> None:
    model = conv_model(12, 8, (3, 3))
    statistics = correlated(conv_of(model), twins=True)
    rewritten, decision = rewrite(model, ChannelPrune(keep=4), statistics)
    index = rewritten.graph[0].inputs[1].const_value.numpy()
    assert sorted(index % 4) == [0, 1, 2, 3]
    assert decision.error < 1e-3


def test_weights_of_zero_and_inputs_that_never_change() -> None:
    model = conv_model(12, 8, (3, 3))
    conv = conv_of(model)
    still = Statistics.of_moments(np.ones((1, 72)), np.zeros((1, 72, 72)), 100)
    assert 0 < rewrite(model, ChannelPrune(keep=4), still)[1].error < 1
    model.graph.initializer[0].raw_data = np.zeros((12, 8, 3, 3), np.float32).tobytes()
    for statistics in (correlated(conv), None):
        rewritten, decision = rewrite(model, ChannelPrune(keep=3), statistics)
        assert decision.error == 0
        assert largest_gap(model, rewritten) == 0


def test_the_stamp_says_who_made_what() -> None:
    rewritten, _ = rewrite(conv_model(12, 8, (3, 3)), ChannelPrune(keep=3))
    assert isinstance(rewritten, ir.Model)
    stamps = [node.metadata_props["edgecc.pass"] for node in rewritten.graph]
    assert stamps == ["channel_prune(keep=3)"] * 2
