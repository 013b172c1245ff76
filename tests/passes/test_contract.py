"""What every decomposition promises: exact at full rank or refused, and nothing else touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from correlated import conv_of, correlated
from helpers import conv_model, largest_gap, run_passes

from edgecc import catalog
from edgecc.calibration.statistics import Statistics
from edgecc.cost import count
from edgecc.rewrite import ConvRewrite
from passes.decompose.rank import RankRewrite

REWRITES = [name for name, kind in catalog.passes().items() if issubclass(kind, ConvRewrite)]
RANKED = [name for name in REWRITES if issubclass(catalog.passes()[name], RankRewrite)]
BY_RANK_ALONE = [name for name in RANKED if name != "spatial_depthwise"]
"""Those whose rank alone decides; spatial_depthwise weighs it against a multiplier."""
PLENTY = 10**6
FULL = {
    **{name: f"{name}(rank={PLENTY})" for name in RANKED},
    "hetconv": "hetconv(parts=1)",
    "msgc": f"msgc(keep={PLENTY})",
    "channel_prune": f"channel_prune(keep={PLENTY})",
}
"""How each is asked to keep everything."""
SMALL = {
    **{name: f"{name}(rank=2)" for name in RANKED},
    "hetconv": "hetconv(parts=2)",
    "msgc": "msgc(heads=2, keep=4)",
    "channel_prune": "channel_prune(keep=4)",
}
"""How each is asked to keep little."""
LEVELS = {
    **{name: [f"{name}(rank={rank})" for rank in (1, 2, 4, 6, 8)] for name in RANKED},
    "hetconv": [f"hetconv(parts={parts})" for parts in (8, 4, 2, 1)],
    "msgc": [f"msgc(keep={keep})" for keep in (2, 4, 8, 12, 16)],
    "channel_prune": [f"channel_prune(keep={keep})" for keep in (2, 4, 8, 12, 16)],
}
"""From little to much."""
CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "1x1": {"kernel": (1, 1)},
    "3x3": {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "3x3 no bias": {"kernel": (3, 3), "bias": False},
    "3x3 stride 2": {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)},
    "3x3 uneven pads": {"kernel": (3, 3), "strides": (2, 1), "pads": (0, 1, 2, 0)},
    "3x3 dilated": {"kernel": (3, 3), "dilations": (2, 2), "pads": (2, 2, 2, 2)},
    "5x5 dilated by axis": {"kernel": (5, 5), "dilations": (1, 2)},
    "1x3": {"kernel": (1, 3), "pads": (0, 1, 0, 1)},
    "grouped": {"kernel": (3, 3), "groups": 2, "pads": (1, 1, 1, 1)},
    "grouped, strided, no bias": {
        "kernel": (3, 3),
        "groups": 4,
        "strides": (2, 2),
        "bias": False,
    },
    "grouped 1x1": {"kernel": (1, 1), "groups": 2},
    "depthwise": {"kernel": (3, 3), "groups": 8, "out_channels": 8},
    "depthwise with multiplier": {"kernel": (3, 3), "groups": 8, "out_channels": 16},
    "few filters": {"kernel": (3, 3), "out_channels": 2},
    "many filters": {"kernel": (3, 3), "out_channels": 96},
    "one channel": {"kernel": (5, 5), "in_channels": 1},
    "1-D": {"kernel": (5,), "pads": (2, 2)},
    "3-D": {"kernel": (3, 3, 3), "size": 5, "pads": (1, 1, 1, 1, 1, 1)},
}


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("shape", CONVOLUTIONS)
def test_exact_at_full_rank_or_refused(name: str, shape: str) -> None:
    model = conv_model(**{"out_channels": 12, "in_channels": 8, **CONVOLUTIONS[shape]})
    before = model.SerializeToString()
    rewritten, decisions = run_passes(model, FULL[name])
    assert len(decisions) == 1
    decision = decisions[0]
    if decision.refusal is not None:
        assert decision.refusal
        assert decision.options is None
        assert rewritten.graph.num_nodes() == 1
    else:
        assert decision.error == 0
        assert all(node.metadata_props["edgecc.origin"] == "conv" for node in rewritten.graph)
    assert largest_gap(model, rewritten) < 5e-6
    assert [value.name for value in rewritten.graph.inputs] == ["x"]
    assert [value.name for value in rewritten.graph.outputs] == ["y"]
    assert model.SerializeToString() == before


@pytest.mark.parametrize("name", REWRITES)
def test_depthwise_and_run_time_weights_are_refused(name: str) -> None:
    model = conv_model(8, 8, (3, 3), groups=8)
    assert run_passes(model, SMALL[name])[1][0].refusal
    dynamic = conv_model(8, 8, (3, 3), bias=False)
    weight = dynamic.graph.initializer.pop()
    value = dynamic.graph.input.add()
    value.CopyFrom(dynamic.graph.input[0])
    value.name = weight.name
    for dim, size in zip(value.type.tensor_type.shape.dim, weight.dims, strict=True):
        dim.dim_value = size
    assert run_passes(dynamic, SMALL[name])[1][0].refusal == (
        "its weights are computed at run time"
    )


@pytest.mark.parametrize("name", REWRITES)
def test_error_falls_with_the_rank_and_bounds_the_output(name: str) -> None:
    model = conv_model(16, 16, (3, 3), bias=False, pads=(1, 1, 1, 1))
    found = [run_passes(model, text) for text in LEVELS[name]]
    assert all(decisions[0].applied for _, decisions in found)
    errors = [decisions[0].error for _, decisions in found]
    assert errors == sorted(errors, reverse=True)
    gaps = [largest_gap(model, rewritten) for rewritten, _ in found]
    assert gaps[-1] < gaps[0]


@pytest.mark.parametrize("name", BY_RANK_ALONE)
def test_energy_is_kept_by_the_smallest_rank_that_does(name: str) -> None:
    model = conv_model(48, 32, (3, 3))
    model.graph.initializer[0].CopyFrom(_decaying_weight(48, 32))
    decision = run_passes(model, f"{name}(energy=0.9)")[1][0]
    assert decision.error is not None
    assert decision.error <= 0.1
    smaller = run_passes(model, f"{name}(rank={decision.options['rank'] - 1})")[1][0]
    assert smaller.error is not None
    assert smaller.error > 0.1


@pytest.mark.parametrize("name", BY_RANK_ALONE)
def test_white_weights_are_refused_an_energy_that_saves_nothing(name: str) -> None:
    decision = run_passes(conv_model(8, 8, (3, 3)), f"{name}(energy=0.999)")[1][0]
    assert decision.refusal is not None
    assert "times its multiply-adds" in decision.refusal


@pytest.mark.parametrize("name", REWRITES)
def test_broken_weights_are_refused(name: str) -> None:
    for value in (np.nan, np.inf):
        model = conv_model(8, 8, (3, 3), pads=(1, 1, 1, 1))
        weight = np.full((8, 8, 3, 3), value, np.float32)
        model.graph.initializer[0].raw_data = weight.tobytes()
        decision = run_passes(model, SMALL[name])[1][0]
        assert decision.refusal == "its weights hold NaN or infinity"
    model.graph.initializer[0].raw_data = np.zeros((8, 8, 3, 3), np.float32).tobytes()
    rewritten, decisions = run_passes(model, SMALL[name])
    assert decisions[0].error == 0
    assert largest_gap(model, rewritten) == 0


@pytest.mark.parametrize("name", REWRITES)
def test_options_round_trip_through_the_command_line(name: str) -> None:
    texts = [name, LEVELS[name][0]]
    texts += [f"{name}(energy=0.75, at_most=0.5)"] if name in RANKED else []
    for text in texts:
        pipeline = catalog.pipeline(text)
        assert str(pipeline) == text
        assert catalog.pipeline(str(pipeline)) == pipeline


@pytest.mark.parametrize("name", REWRITES)
def test_a_weight_that_two_convolutions_share_is_left_to_the_other(name: str) -> None:
    model = conv_model(8, 8, (3, 3), pads=(1, 1, 1, 1), bias=False)
    second = model.graph.node.add()
    second.CopyFrom(model.graph.node[0])
    second.name, second.input[0], second.output[0] = "second", "y", "z"
    model.graph.output[0].name = "z"
    rewritten, _ = run_passes(model, FULL[name])
    assert largest_gap(model, rewritten) < 1e-5
    assert "w" not in rewritten.graph.initializers


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("shape", ["3x3", "3x3 stride 2", "5x5 dilated by axis", "grouped", "1x1"])
def test_a_choice_costs_what_it_said_and_computes_what_it_said(name: str, shape: str) -> None:
    """The sketch that prices a rewrite is the rewrite; W' is what the operators multiply out to."""
    model = conv_model(**{"out_channels": 16, "in_channels": 16, **CONVOLUTIONS[shape]})
    conv = conv_of(model)
    known = correlated(conv)
    family = catalog.pipeline(name).passes[0]
    assert isinstance(family, ConvRewrite)
    if family.refuse(conv):
        return
    choices = list(family.choices(conv, 2))
    errors = family.errors(conv, known, choices)
    for choice, error in list(zip(choices, errors, strict=True))[:: max(1, len(choices) // 3)]:
        copy = ir.from_proto(onnx.ModelProto.FromString(model.SerializeToString()))
        decision, _made = choice.apply(copy.graph[0], conv, known)
        assert decision.applied
        counted = count(copy, {"x": (1, 16, 11, 11)}, catalog.infer_shapes).total
        layers = choice.layers(conv, (11, 11))
        assert counted.macs == sum(layer.macs for layer in layers)
        assert counted.params == sum(layer.params for layer in layers) + conv.out_channels
        assert decision.error == pytest.approx(error, rel=0.15, abs=1e-6)
        weight = choice.project(conv, known).weight.reshape(conv.weight.shape)
        dense = conv_model(**{"out_channels": 16, "in_channels": 16, **CONVOLUTIONS[shape]})
        dense.graph.initializer[0].raw_data = weight.astype(np.float32).tobytes()
        bias = (
            conv.bias
            + (
                (conv.matrix() - weight.reshape(conv.matrix().shape)) @ known.mean[..., None]
            ).ravel()
        )
        dense.graph.initializer[1].raw_data = bias.astype(np.float32).tobytes()
        assert largest_gap(dense, copy) < 5e-5


@pytest.mark.parametrize("name", REWRITES)
def test_statistics_make_no_fit_worse(name: str) -> None:
    """Under what is known of the input, the fit that knows it beats the one that does not."""
    conv = conv_of(conv_model(16, 16, (3, 3), pads=(1, 1, 1, 1)))
    known = correlated(conv)
    choice = catalog.pipeline(SMALL[name]).passes[0].settle(conv, known)
    blind = choice.project(conv, Statistics.identity(conv)).weight
    block = next(known.blocks(conv))
    lost = block.energy(block.weight - blind[0]) / block.energy(block.weight)
    assert choice.project(conv, known).error <= lost * (1 + 1e-9)


def _decaying_weight(outputs: int, inputs: int) -> Any:
    """Filters that a few basis filters, and channels that a few taps, describe well."""
    random = np.random.default_rng(0)
    decay = 0.7 ** np.arange(9)
    taps = np.linalg.qr(random.standard_normal((9, 9)))[0] * decay
    mix = random.standard_normal((outputs, 4)) @ random.standard_normal((4, inputs))
    noise = random.standard_normal((outputs, inputs, 9)) @ taps.T
    weight = (mix[:, :, None] * taps[:, 0] + noise).reshape(outputs, inputs, 3, 3)
    return onnx.numpy_helper.from_array(weight.astype(np.float32), "w")
