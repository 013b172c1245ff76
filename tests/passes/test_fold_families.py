"""What is left of the Gathers of each family between its neighbours."""

from __future__ import annotations

import numpy as np
import onnx
from folded import fold, gathers, net
from helpers import normal, operators

from passes.decompose.channel_prune import ChannelPrune
from passes.decompose.dac import Dac
from passes.decompose.hetconv import Hetconv
from passes.decompose.msgc import Msgc

CHAIN = """a = Conv <pads=[1,1,1,1]> (x, W0, B0)  r = Relu(a)
    h = Conv <pads=[1,1,1,1]> (r, W1, B1)  s = Relu(h)
    i = Conv <pads=[1,1,1,1]> (s, W2, B2)  t = Relu(i)  y = Conv (t, W3, B3)"""
RESIDUAL = CHAIN.replace("t = Relu(i)", "u = Add (i, r)  t = Relu(u)")


def network(body: str) -> onnx.ModelProto:
    sizes = enumerate([(16, 4), (16, 16), (16, 16), (8, 16)])
    weights = {f"W{i}": normal(o, c, 3, 3, seed=i) / np.sqrt(9 * c) for i, (o, c) in sizes}
    biases = {f"B{i}": normal(8 if i == 3 else 16, seed=9 + i) for i in range(4)}
    return net(body, **{name: w.astype(np.float32) for name, w in weights.items()}, **biases)


def test_hetconv_between_convolutions_needs_no_gather() -> None:
    folded, decisions = fold(network(CHAIN), ("h", Hetconv(4)))
    assert operators(folded) == [
        "Conv 16x4x3x3 p1 bias",
        "Relu",
        "Conv 16x4x3x3 p1 g4",
        "Conv 16x16x1x1 bias",
        "Add",
        "Relu",
        "Conv 16x16x3x3 p1 bias",
        "Relu",
        "Conv 8x16x3x3 bias",
    ]
    assert all(decision.applied for decision in decisions)
    made = [node for node in folded.graph if "edgecc.pass" in node.metadata_props]
    assert {node.metadata_props["edgecc.pass"] for node in made} == {"hetconv(parts=4)"}
    assert [node.metadata_props["edgecc.origin"] for node in made] == ["h"] * 3


def test_of_the_gathers_of_two_hetconvs_one_is_left() -> None:
    folded, decisions = fold(network(CHAIN), ("h", Hetconv(4)), ("i", Hetconv(2)))
    assert gathers(folded) == 1
    assert [decision.applied for decision in decisions].count(False) == 1


def test_hetconv_in_a_residual_block_reorders_the_stream() -> None:
    assert gathers(fold(network(RESIDUAL), ("i", Hetconv(4)))[0]) == 0
    assert gathers(fold(network(RESIDUAL), ("h", Hetconv(4)), ("i", Hetconv(4)))[0]) == 2


def test_msgc_prunes_the_layer_before_and_leaves_one_gather() -> None:
    folded, decisions = fold(network(CHAIN), ("h", Msgc(2)), ("i", Msgc(3)))
    assert gathers(folded) == 2
    outputs = int(operators(folded)[0].split()[1].split("x")[0])
    assert outputs <= 8
    note = f"{16 - outputs} of 16 channels are no longer made"
    assert [decision.note for decision in decisions].count(note) == 1


def test_channel_prune_leaves_narrower_convolutions() -> None:
    rules = [("h", ChannelPrune(10)), ("i", ChannelPrune(12)), ("y", ChannelPrune(7))]
    assert operators(fold(network(CHAIN), *rules)[0])[::2] == [
        "Conv 10x4x3x3 p1 bias",
        "Conv 12x10x3x3 p1 bias",
        "Conv 7x12x3x3 p1 bias",
        "Conv 8x7x3x3 bias",
    ]


def test_dac_behind_takes_an_order_in() -> None:
    rules = [("h", Hetconv(2)), ("i", Dac(rank=2)), ("y", Dac(rank=3))]
    assert gathers(fold(network(CHAIN), *rules)[0]) == 0
