from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from folded import WEIGHTS, fold, gathers, net
from helpers import conv_model, normal, operators

from passes.decompose.fold_gather import FoldGather

ORDER = WEIGHTS["ORDER"]


def test_channels_that_are_not_read_are_not_made() -> None:
    model = net("a = Conv (x, W, B)  r = Relu(a)  s = Gather <axis=1> (r, SOME)  y = Conv (s, V3)")
    folded, decisions = fold(model)
    assert operators(folded) == ["Conv 3x4x3x3 bias", "Relu", "Conv 4x3x1x1"]
    assert [d.note for d in decisions] == ["3 of 6 channels are no longer made; folded into a"]


def test_another_reader_of_what_is_reordered_follows() -> None:
    model = net(
        """a = Conv (x, W, B)  r = Relu(a)  s = Gather <axis=1> (r, ORDER)
        p = Conv <group=2> (s, V3)  q = Conv (r, U)  y = Add (p, q)""",
        U=normal(4, 6, 1, 1),
    )
    folded, decisions = fold(model)
    assert gathers(folded) == 0
    assert decisions[0].note == "folded into q, a"


def test_choices_of_one_value_are_made_together() -> None:
    model = net(
        """a = Conv (x, W, B)  r = Relu(a)  s = Gather <axis=1> (r, I)
        t = Gather <axis=1> (r, J)  p = Conv (s, V3)  q = Conv (t, V3)  y = Add (p, q)""",
        I=np.array([0, 2, 4]),
        J=np.array([4, 2, 5]),
    )
    folded, decisions = fold(model)
    assert operators(folded)[0] == "Conv 4x4x3x3 bias"
    assert gathers(folded) == 2
    assert decisions[0].note == "2 of 6 channels are no longer made"
    assert decisions[1].refusal == "other Gathers read channels that it leaves out"


def test_channels_that_are_repeated_stay_and_others_are_not_made() -> None:
    model = net(
        """a = Conv (x, W, B)  r = Relu(a)  s = Gather <axis=1> (r, I)
        y = Conv <group=2> (s, V3)""",
        I=np.array([5, 1, 1, 3, 5, 0]),
    )
    folded, decisions = fold(model)
    assert operators(folded) == ["Conv 4x4x3x3 bias", "Relu", "Gather", "Conv 4x3x1x1 g2"]
    assert folded.graph[2].inputs[1].const_value.numpy().tolist() == [3, 1, 1, 2, 3, 0]
    assert decisions[0].note == "2 of 6 channels are no longer made"


def test_gathers_in_a_row_become_one() -> None:
    model = net(
        """a = Gather <axis=1> (x, BACK)  r = Relu(a)  s = Gather <axis=1> (r, I)
        y = Conv (s, V3)""",
        BACK=np.array([3, 2, 1, 0]),
        I=np.array([0, 1, -1]),
    )
    folded, decisions = fold(model)
    assert operators(folded) == ["Relu", "Gather", "Conv 4x3x1x1"]
    assert folded.graph[1].inputs[1].const_value.numpy().tolist() == [3, 2, 0]
    assert [d.note for d in decisions] == ["folded into s", None]


def test_a_weight_that_two_convolutions_share_is_left_to_the_other() -> None:
    model = net(
        """a = Conv (x, W, B)  r = Relu(a)  s = Gather <axis=1> (r, SOME)
        p = Conv (s, V3)  o = Conv (x, W, B)  q = Conv (o, U)  y = Add (p, q)""",
        U=normal(4, 6, 1, 1),
    )
    folded, _ = fold(model)
    assert [text for text in operators(folded) if "3x3" in text] == [
        "Conv 3x4x3x3 bias",
        "Conv 6x4x3x3 bias",
    ]


def test_an_output_keeps_its_name() -> None:
    folded, _ = fold(net("a = Conv (x, W, B)  r = Relu(a)  y = Gather <axis=1> (r, SOME)"))
    assert operators(folded) == ["Conv 3x4x3x3 bias", "Relu"]


def test_a_gather_that_keeps_the_order_goes() -> None:
    folded, decisions = fold(net("a = Gather <axis=1> (x, I)  y = Conv (a, W)", I=np.arange(4)))
    assert operators(folded) == ["Conv 6x4x3x3"]
    assert decisions[0].note == "removed: it kept the order"
    folded, decisions = fold(net("y = Gather <axis=1> (x, I)", I=np.arange(4)))
    assert decisions[0].refusal == "it stands between an input or output and an output"
    assert gathers(folded) == 1


REFUSALS = {
    "s = Gather <axis=1> (x, THREE)  y = Conv (s, W3)": "x is an input of the network",
    "a = Conv (x, W)  s = Gather <axis=1> (a, SOME)  p = Conv (s, U3)  q = Conv (a, V)"
    "  y = Add (p, q)": "q reads channels that it leaves out",
    "a = Conv <group=2> (x, GROUPED)  s = Gather <axis=1> (a, SOME)  y = Conv (s, V3)": (
        "a has 2 groups"
    ),
    "a = Conv <group=2> (x, GROUPED)  y = Gather <axis=1> (a, ORDER)": (
        "a has 2 groups; y is an output of the network"
    ),
    "a = Conv (x, W)  s = Gather <axis=1> (a, TWICE)  y = Conv (s, WIDE)": (
        "it takes every channel, some more than once"
    ),
    "a = Conv (x, W)  d = Concat <axis=1> (a, a)  s = Gather <axis=1> (a, SOME)"
    "  p = Conv (s, U3)  q = Conv (d, WIDE)  y = Add (p, q)": "Concat d is beside it",
    "a = Conv (x, W)  s = Gather <axis=1> (a, ORDER)  t = Add (a, s)  y = Conv (t, V)": (
        "what it reads and what it makes are added up"
    ),
    "a = Conv (x, W)  h = Softmax <axis=1> (a)  s = Gather <axis=1> (h, SOME)"
    "  y = Conv (s, V3)": "Softmax h is beside it",
    "m = ReduceMax <keepdims=0> (x)  u = Mul (W, m)  a = Conv (x, u)"
    "  s = Gather <axis=1> (a, SOME)  y = Conv (s, V3)": (
        "the weights of a are computed at run time"
    ),
}


@pytest.mark.parametrize("body", REFUSALS)
def test_what_it_refuses(body: str) -> None:
    model = net(
        body,
        **{"THREE": np.array([2, 0, 1]), "W3": normal(6, 3, 3, 3), "U3": normal(5, 3, 1, 1)},
        **{"TWICE": np.repeat(ORDER, 2), "WIDE": normal(5, 12, 1, 1)},
    )
    folded, decisions = fold(model)
    assert [node.op_type for node in folded.graph] == [node.op_type for node in model.graph.node]
    assert [d.refusal for d in decisions] == [REFUSALS[body]]


def test_a_value_that_a_subgraph_reads_is_refused() -> None:
    model = net(
        """a = Conv (x, W)  s = Gather <axis=1> (a, SOME)  p = Conv (s, U3)
        t = If (YES) <then_branch = g1 () => (float[2,6,7,7] u) { u = Relu(a) },
                      else_branch = g2 () => (float[2,6,7,7] v) { v = Abs(a) }>
        q = Conv (t, V)  y = Add (p, q)""",
        YES=np.array(True),
        U3=normal(5, 3, 1, 1),
    )
    assert fold(model)[1][0].refusal == "a subgraph reads a"


def test_other_gathers_are_not_reported() -> None:
    assert fold(net("a = Gather <axis=2> (x, SOME)  y = Relu(a)"))[1] == []
    assert FoldGather().run(ir.from_proto(conv_model(4, 4, (3, 3)))) == []
