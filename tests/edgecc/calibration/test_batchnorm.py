from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import normal, outputs, parse

from edgecc.calibration.batchnorm import channel_means

NETWORK = """
network (float[N, 6, 24, 24] x) => (float[N, 8, 12, 12] last) {
    c1 = Conv <kernel_shape = [3, 3]> (x, w1)
    b1 = BatchNormalization (c1, g1, h1, m1, v1)
    r1 = Relu (b1)
    c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w2)
    b2 = BatchNormalization (c2, g2, h2, m2, v2)
    s = Add (b2, r1)
    r2 = Relu (s)
    last = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r2)
}
"""


def norm(activation: str, *, opset: int = 17, **weights: Any) -> ir.Model:
    """A BatchNorm of x to z, and what stands behind it, to y."""
    text = f"""n (float[1000, 8, 4, 4] x) => (float[] y) {{
        z = BatchNormalization (x, g, h, m, v)
        {activation}
    }}"""
    random = np.random.default_rng(2)
    made = {
        "g": random.uniform(0.2, 2, 8).astype(np.float32),
        "h": random.standard_normal(8).astype(np.float32),
        "m": np.zeros(8, np.float32),
        "v": np.ones(8, np.float32),
    }
    return ir.from_proto(parse(text, {**made, **weights}, opset=opset))


def network(x: np.ndarray) -> onnx.ModelProto:
    """A residual network whose BatchNorms hold the statistics that x has there."""
    weights = {"w1": normal(8, 6, 3, 3), "w2": normal(8, 8, 3, 3, seed=4) / 8}
    for i in "12":
        weights |= {f"g{i}": np.abs(normal(8, seed=5)) + 0.2, f"h{i}": normal(8, seed=int(i))}
        weights |= {f"m{i}": np.zeros(8, np.float32), f"v{i}": np.ones(8, np.float32)}
    for i in "12":
        found = outputs(watched(parse(NETWORK, weights)), x=x)[f"c{i}"]
        weights |= {f"m{i}": found.mean(axis=(0, 2, 3)), f"v{i}": found.var(axis=(0, 2, 3))}
    return parse(NETWORK, weights)


def watched(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every value as an output."""
    there = {value.name for value in model.graph.output}
    for node in model.graph.node:
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in node.output if name not in there
        )
    return model


def test_the_means_of_a_network_are_about_those_that_it_has() -> None:
    x = normal(64, 6, 24, 24)
    model = network(x)
    means = channel_means(ir.from_proto(model))
    assert set(means) == {"b1", "r1", "b2", "s", "r2", "last"}
    real = outputs(watched(model), x=x)
    for name, mean in means.items():
        measured = real[name].mean(axis=(0, 2, 3))
        assert np.corrcoef(mean, measured)[0, 1] > 0.95, name
        assert np.abs(mean - measured).max() < (0.02 if name in ("b1", "r1", "b2", "s") else 0.2)


@pytest.mark.parametrize(
    ("activation", "opset"),
    [
        ("y = Relu (z)", 17),
        ("y = LeakyRelu <alpha = 0.3> (z)", 17),
        ("y = LeakyRelu (z)", 17),
        ("y = Clip <min = 0.0, max = 1.5> (z)", 10),
        ("y = Clip (z, low, high)", 17),
        ("low6 = Constant <value = float {-0.5}> () y = Clip (z, low6)", 17),
        ("y = Clip (z, , high)", 17),
        ("y = Identity (z)", 17),
        ("y = Concat <axis = 1> (z, z)", 17),
        ("y = Concat <axis = -3> (z, z)", 17),
        ("r = Relu (z) y = GlobalAveragePool (r)", 17),
        ("y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (z)", 17),
        ("a = GlobalAveragePool (z) y = Add (a, z)", 17),
    ],
)
def test_a_normal_input_has_the_means_that_it_should(activation: str, opset: int) -> None:
    model = norm(activation, opset=opset, low=np.float32(-0.25), high=np.float32(0.75))
    y = outputs(model, x=normal(1000, 8, 4, 4))["y"]
    model.graph[0].outputs[0].shape = ir.Shape([1000, 8, 4, 4])  # as infer_shapes leaves it
    np.testing.assert_allclose(channel_means(model)["y"], y.mean(axis=(0, 2, 3)), atol=0.05)


@pytest.mark.parametrize(
    "activation",
    [
        "y = MaxPool <kernel_shape = [2, 2]> (z)",
        "y = Sigmoid (z)",
        "y = Add (z, x)",
        "y = Add (z, one)",
        "y = Clip (z, low)",
        "y = Concat <axis = 2> (z, z)",
        "y = Concat <axis = -3> (z, z)",
        "a = GlobalAveragePool (z) y = Relu (a)",
        "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (z)",
    ],
)
def test_what_does_not_follow_is_absent(activation: str) -> None:
    model = norm(activation, one=np.ones((8, 1, 1), np.float32), low=np.zeros(2, np.float32))
    assert "z" in channel_means(model)
    assert "y" not in channel_means(model)


def test_channels_that_never_vary_keep_their_beta() -> None:
    still = norm("y = Relu (z)", v=np.zeros(8, np.float32))
    beta = still.graph.initializers["h"].const_value.numpy()
    np.testing.assert_allclose(channel_means(still)["y"], np.maximum(beta, 0), atol=1e-6)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -1.0, 3e38])
@pytest.mark.parametrize("parameter", ["g", "h", "m", "v"])
def test_odd_parameters_give_numbers_or_nothing(odd: float, parameter: str) -> None:
    model = norm("r = Relu (z) s = Add (r, z) y = LeakyRelu (s)")
    weight = np.full(8, odd, np.float32)
    model.graph.initializers[parameter].const_value = ir.tensor(weight)
    assert all(np.isfinite(mean).all() for mean in channel_means(model).values())


def test_models_without_batchnorm_or_with_a_strange_one_are_no_trouble() -> None:
    plain = parse("n (float[1, 2] x) => (float[1, 2] y) { y = Relu (x) }")
    assert channel_means(ir.from_proto(plain)) == {}
    wide = norm("y = Relu (z)", g=np.ones((8, 4, 4), np.float32), h=np.ones(3, np.float32))
    assert channel_means(wide) == {}
    computed = norm("y = Relu (z)")
    computed.graph.inputs.append(computed.graph.initializers["g"])
    assert channel_means(computed) == {}
