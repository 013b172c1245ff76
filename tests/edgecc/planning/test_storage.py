"""What counts as a parameter: biases that a rewrite adds, weights that several operators share."""

from __future__ import annotations

import pytest
from classifier import W, X, network
from helpers import parse
from sampled import cost_of, planned, samples

from edgecc.planning.budget import Budget


@pytest.mark.parametrize("fraction", [0.5, 0.7])
def test_biases_that_are_added_count(fraction: float) -> None:
    bare = planned(network("b0", "b1", "b2", "b3", "bg"), X)
    selection = bare.planner.within([Budget("params", fraction)])
    assert bare.cost_of(selection).params <= fraction * bare.whole.params


@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_weights_that_layers_share(fraction: float) -> None:
    shared = parse(
        """g (float[N,16,10,10] x) => (float[A,B,C,D] y) {
            a = Conv <pads=[1,1,1,1]> (x, w1, b1)  b = Relu(a)
            c = Conv <pads=[1,1,1,1]> (b, w1, b1)  d = Relu(c)
            y = Conv <pads=[1,1,1,1]> (d, w1, b1)
        }""",
        {name: W[name] for name in ("w1", "b1")},
    )
    few = planned(shared, samples(8, channels=16), "basis")
    selection = few.planner.within([Budget("params", fraction)])
    left = cost_of(few.rewritten(selection), few.samples.data.arrays["x"])
    assert left.params <= fraction * few.whole.params


def test_all_of_the_parameters_leaves_a_network_without_biases_alone() -> None:
    """Though any rewrite adds biases behind it."""
    bare = planned(network("b0", "b1", "b2", "b3", "bg"), X, "basis")
    selection = bare.planner.within([Budget("params", 1.0)])
    assert set(selection.steps.values()) == {None}
    assert bare.planner.costs.fraction("params", selection) == 1.0
    some = bare.planner.within([Budget("params", 0.9)])
    assert (
        bare.cost_of(some).params <= bare.planner.costs.fraction("params", some) * bare.whole.params
    )


SHARED = """g (float[N,16,10,10] x) => (float[A,B,C,D] y) {
    a = Conv <pads=[1,1,1,1]> (x, w1, b1)  b = Relu(a)
    c = Conv <pads=[1,1,1,1]> (b, w1, b1)  d = Relu(c)
    e = Conv <pads=[1,1,1,1]> (d, w2, b2)  f = Relu(e)  y = Conv(f, w3, b3)
}"""


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.8])
def test_weights_that_some_layers_share(fraction: float) -> None:
    weights = {name: array for name, array in W.items() if name in SHARED}
    few = planned(parse(SHARED, weights), samples(8, channels=16), "basis")
    selection = few.planner.within([Budget("params", fraction)])
    reached = few.planner.costs.fraction("params", selection)
    assert (
        few.cost_of(selection).params <= reached * few.whole.params <= fraction * few.whole.params
    )
    both = {selection.steps["Conv_a"] is None, selection.steps["Conv_c"] is None}
    assert len(both) == 1  # a copy that is rewritten saves nothing beside one that is not
    assert both == {fraction > 0.5}
    assert few.planner.smallest("params") <= 0.3


def test_a_weight_that_another_operator_reads_stays() -> None:
    text = SHARED.replace("b1)  d = Relu(c)", "b1)  s = ReduceSum<keepdims=0>(w1)  k = Add(c, s)"
                          "  d = Relu(k)")  # fmt: skip
    weights = {name: array for name, array in W.items() if name in SHARED}
    few = planned(parse(text, weights), samples(8, channels=16), "basis")
    low = few.planner.smallest("params")
    selection = few.planner.within([Budget("params", low + 0.001)])
    assert selection.steps["Conv_a"] is selection.steps["Conv_c"] is None
    assert few.cost_of(selection).params <= (low + 0.001) * few.whole.params
