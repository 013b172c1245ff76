"""Balance factors: exact in float32, and worth it in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import normal, outputs, parse
from residual import NETWORK, X
from sampled import batches, copy_of

from edgecc.bundle import save_model
from edgecc.quantise.accuracy import Judge
from edgecc.quantise.balance import balance
from edgecc.quantise.qdq import quantise
from edgecc.quantise.ranges import ranges, scan
from edgecc.rewrite import Decision

UNEVEN = np.geomspace(0.01, 3, 12).astype(np.float32)
"""How unlike the channels in between are."""
HEAD = "g (float[N,4,10,10] x) => (float[A,B,C,D] y) {"


def pair(between: str = "b = Relu(a)", last: str = "y = Conv(b, w1)") -> onnx.ModelProto:
    """Two convolutions with 12 uneven channels in between."""
    rows = UNEVEN[:, None, None, None]
    weights = {
        "w0": normal(12, 4, 3, 3) / 6 * rows,
        "b0": normal(12, seed=7) / 3 * UNEVEN,
        "w1": normal(8, 12, 1, 1, seed=4) / 4 / rows.reshape(1, 12, 1, 1),
        "wd": normal(12, 1, 3, 3, seed=5) / 3 / rows,
        "wg": normal(8, 3, 1, 1, seed=6) / 2,
    }
    text = f"{HEAD} a = Conv <pads=[1,1,1,1]> (x, w0, b0) {between} {last} }}"
    return parse(text, weights)


def balanced(model: onnx.ModelProto, folder: Path) -> tuple[ir.Model, dict[str, Decision]]:
    graph = copy_of(model)
    path = save_model(graph, folder / "before.onnx")
    decisions = {d.node: d for d in balance(graph, scan(path, batches(X, 8)))}
    save_model(graph, folder / "after.onnx")
    return graph, decisions


def int8_error(folder: Path, name: str, reference: str = "before") -> float:
    path = folder / f"{name}.onnx"
    found = ranges(path, batches(X, 8), "minmax")
    return Judge(folder / f"{reference}.onnx", batches(X, 8))(
        quantise(path, found, folder / "int8.onnx").path
    ).error


@pytest.mark.parametrize(
    "between",
    [
        "b = Identity(a)",
        "b = Relu(a)",
        "b = LeakyRelu <alpha=0.1> (a)",
        "r = Relu(a) b = MaxPool <kernel_shape=[2,2]> (r)",
        "b = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1]> (a)",
    ],
)
@pytest.mark.parametrize(
    "last",
    [
        "y = Conv(b, w1)",
        "y = Conv <group=12> (b, wd)",
        "y = Conv <group=4> (b, wg)",
        "c = Conv(b, w1) d = Conv(b, w1) y = Mul(c, d)",
    ],
)
def test_exact_in_float32(tmp_path: Path, between: str, last: str) -> None:
    model = pair(between, last)
    if "Identity" in between:
        model = pair("", last.replace("(b,", "(a,"))
    graph, decisions = balanced(model, tmp_path)
    assert decisions["Conv_a"].applied, decisions["Conv_a"].refusal
    before, after = outputs(model, x=X)["y"], outputs(graph, x=X)["y"]
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_int8_is_better_for_it(tmp_path: Path) -> None:
    _, decisions = balanced(pair(), tmp_path)
    assert decisions["Conv_a"].note is not None
    assert int8_error(tmp_path, "after") < 0.8 * int8_error(tmp_path, "before")


def test_depthwise_takes_the_whole_burden(tmp_path: Path) -> None:
    """A scale for each of its filters: factors cost its weights nothing."""
    _, decisions = balanced(pair(last="y = Conv <group=12> (b, wd)"), tmp_path)
    assert decisions["Conv_a"].options == {"power": 1.0}
    greatest = scan(tmp_path / "after.onnx", batches(X, 8))["b"].greatest
    np.testing.assert_allclose(greatest, greatest.max(), rtol=1e-4)


def test_even_channels_are_left(tmp_path: Path) -> None:
    """All channels the same: nothing to gain."""
    model = parse(
        f"{HEAD} a = Conv(x, w0) b = Relu(a) y = Conv(b, w1) }}",
        {
            "w0": np.repeat(normal(1, 4, 1, 1), 6, axis=0),
            "w1": np.repeat(normal(3, 1, 1, 1), 6, axis=1),
        },
    )
    _, decisions = balanced(model, tmp_path)
    assert decisions["Conv_a"].refusal == "its channels are even enough"


@pytest.mark.parametrize(
    ("between", "last", "words"),
    [
        ("b = Clip(a, zero, six)", "y = Conv(b, w1)", "Clip 'Clip_b' reads it too"),
        ("b = Sigmoid(a)", "y = Conv(b, w1)", "Sigmoid 'Sigmoid_b' reads it too"),
        ("b = Relu(a)", "c = Conv(b, w2) y = Add(c, b)", "Add 'Add_y' reads it too"),
        ("", "y = Relu(a)", "the network gives out what it makes"),
    ],
)
def test_refused(tmp_path: Path, between: str, last: str, words: str) -> None:
    model = pair(between, last)
    for name, array in {
        "zero": np.float32(0),
        "six": np.float32(6),
        "w2": normal(12, 12, 1, 1),
    }.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    graph, decisions = balanced(model, tmp_path)
    assert decisions["Conv_a"].refusal == words
    before, after = outputs(model, x=X)["y"], outputs(graph, x=X)["y"]
    np.testing.assert_array_equal(after, before)


def test_shared_weights_are_parted(tmp_path: Path) -> None:
    """The last convolution's weights are the second's, which take factors over."""
    model = pair(last="c = Conv(b, w3) d = Sigmoid(c) y = Conv(d, w3)")
    square = normal(12, 12, 1, 1, seed=4) / 4 / UNEVEN[None, :, None, None]
    model.graph.initializer.append(onnx.numpy_helper.from_array(square, "w3"))
    graph, decisions = balanced(model, tmp_path)
    assert decisions["Conv_a"].applied
    before, after = outputs(model, x=X)["y"], outputs(graph, x=X)["y"]
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_dead_channels_do_no_harm(tmp_path: Path) -> None:
    model = pair()
    w0 = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    b0 = onnx.numpy_helper.to_array(model.graph.initializer[1]).copy()
    w0[3], b0[3] = 0, -1
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(w0, "w0"))
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(b0, "b0"))
    graph, decisions = balanced(model, tmp_path)
    assert decisions["Conv_a"].applied
    before, after = outputs(model, x=X)["y"], outputs(graph, x=X)["y"]
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_a_residual_network_whole(tmp_path: Path) -> None:
    graph, decisions = balanced(NETWORK, tmp_path)
    assert [d.refusal for d in decisions.values()] == [
        "Add 'Add_d' reads it too",
        "Add 'Add_d' reads it too",
        "the network gives out what it makes",
    ]
    np.testing.assert_array_equal(outputs(graph, x=X)["y"], outputs(NETWORK, x=X)["y"])
