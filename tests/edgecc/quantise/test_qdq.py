"""The QDQ graph, and where its pairs stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from classifier import X as IMAGES
from classifier import network as classifier
from helpers import normal, operators, parse
from residual import NETWORK, X
from sampled import batches, copy_of

from edgecc.bundle import save_model
from edgecc.errors import BuildError
from edgecc.quantise.accuracy import Judge
from edgecc.quantise.placement import placement_problems, quantised_from
from edgecc.quantise.qdq import Quantised, layers, quantise
from edgecc.quantise.ranges import ranges
from edgecc.quantise.simulate import Simulated

Save = Callable[..., Path]
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def quantised(
    model: onnx.ModelProto, folder: Path, x: np.ndarray = X, keep: Sequence[str] = ()
) -> tuple[Quantised, ir.Model]:
    path = save_model(copy_of(model), folder / "model.onnx")
    made = quantise(path, ranges(path, batches(x, 8), "minmax"), folder / "int8.onnx", keep)
    onnx.checker.check_model(onnx.load(made.path), full_check=True)
    return made, ir.load(made.path)


def reads(model: ir.Model, name: str) -> list[str]:
    """What a node reads, "int8 b" where it is the output of a Q/DQ pair."""
    node = next(node for node in model.graph if node.name == name)
    found = []
    for value in node.inputs:
        before = quantised_from(value)
        found.append(f"int8 {before.name}" if before is not None else str(value and value.name))
    return found


def test_pairs_stand_where_tensorrt_wants_them(tmp_path: Path) -> None:
    made, model = quantised(NETWORK, tmp_path)
    assert placement_problems(model) == []
    assert reads(model, "Conv_a") == ["int8 x", "int8 w0", "b0"]
    assert reads(model, "Relu_b") == ["a"]
    assert reads(model, "Conv_c") == ["int8 b", "int8 w1", "b1"]
    assert reads(model, "Add_d") == ["c", "int8 b"]
    assert [v.name for v in model.graph.outputs] == ["y"]
    assert made.layers == ("Conv_a", "Conv_c", "Add_d", "Conv_y")
    assert made.left == {}
    scales = [n.inputs[1].const_value.numpy() for n in model.graph if n.op_type == Q]
    assert sorted(s.size for s in scales) == [1, 1, 1, 1, 8, 12, 12]


def test_numbers_are_those_of_int8(tmp_path: Path) -> None:
    """The first convolution, rounded here."""
    made, _ = quantised(NETWORK, tmp_path)
    step = np.float32(np.abs(X).max() / 127)
    weight = NETWORK.graph.initializer[0]
    w = onnx.numpy_helper.to_array(weight)
    steps = np.abs(w).max(axis=(1, 2, 3), keepdims=True) / 127
    by_hand = parse(
        "g (float[N,4,10,10] x) => (float[N,12,10,10] a) {a = Conv <pads=[1,1,1,1]> (x, w0, b0) }",
        {
            "w0": np.round(w / steps) * steps,
            "b0": onnx.numpy_helper.to_array(NETWORK.graph.initializer[3]),
        },
    )
    proto = onnx.load(made.path)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("a", 1, None))
    onnx.save(proto, tmp_path / "tapped.onnx")
    onnx.save(by_hand, tmp_path / "by_hand.onnx")
    with Simulated(tmp_path / "tapped.onnx") as ours, Simulated(tmp_path / "by_hand.onnx") as hand:
        rounded = np.clip(np.round(X / step), -127, 127) * step
        np.testing.assert_allclose(
            ours.run({"x": X})["a"], hand.run({"x": rounded})["a"], atol=1e-4
        )


def test_a_classifier_to_its_last_layer(tmp_path: Path) -> None:
    made, model = quantised(classifier(), tmp_path, IMAGES)
    assert placement_problems(model) == []
    assert reads(model, "GlobalAveragePool_p") == ["int8 j"]
    assert reads(model, "Gemm_y") == ["int8 q", "int8 wg", "bg"]
    assert reads(model, "Add_f") == ["e", "int8 b"]
    assert "Flatten_q" not in made.layers


def test_layers_that_are_kept_read_what_was_there(tmp_path: Path) -> None:
    made, model = quantised(NETWORK, tmp_path, keep=["Conv_c"])
    assert placement_problems(model) == []
    assert reads(model, "Conv_c") == ["b", "w1", "b1"]
    assert reads(model, "Add_d") == ["c", "int8 b"]
    assert made.left == {"Conv_c": "it is kept as it is"}


def test_keeping_all_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    names = layers(copy_of(NETWORK))
    _, model = quantised(NETWORK, tmp_path, keep=names)
    assert operators(model) == operators(copy_of(NETWORK))


def test_other_layers_with_weights(tmp_path: Path) -> None:
    model = parse(
        """g (float[N,4,6,6] x) => (float[A,B] y, float[C,D,E,F] z) {
            a = ConvTranspose <strides=[2,2]> (x, w0)  b = ConvTranspose <group=2> (a, w1)
            c = Conv <group=4> (a, w4)  z = Conv(b, c)
            p = AveragePool <kernel_shape=[2,2]> (a)  q = Flatten(p)  y = MatMul(q, w3)
        }""",
        {
            "w0": normal(4, 4, 3, 3),
            "w1": normal(4, 2, 1, 1),
            "w3": normal(4 * 144, 5),
            "w4": normal(4, 1, 3, 3),
        },
    )
    made, found = quantised(model, tmp_path, X[:8, :, :6, :6])
    assert placement_problems(found) == []
    assert made.layers == ("ConvTranspose_a", "Conv_c", "AveragePool_p", "MatMul_y")
    assert made.left == {
        "ConvTranspose_b": "TensorRT has no int8 for transposed convolutions in groups",
        "Conv_z": "its weights are computed at run time",
    }
    assert reads(found, "ConvTranspose_a") == ["int8 x", "int8 w0"]
    assert reads(found, "MatMul_y") == ["int8 q", "int8 w3"]


def test_sums_of_two_convolutions_are_fused_with_the_later_one(tmp_path: Path) -> None:
    model = parse(
        """g (float[N,4,10,10] x) => (float[A,B,C,D] y) {
            a = Conv(x, w0)  b = Relu(a)  s = Conv(x, w1)  c = Conv(b, w2)  d = Add(s, c)
            e = Relu(d)  y = Conv(e, w2)
        }""",
        {"w0": normal(6, 4, 1, 1), "w1": normal(6, 4, 1, 1), "w2": normal(6, 6, 1, 1)},
    )
    _, found = quantised(model, tmp_path)
    assert placement_problems(found) == []
    assert reads(found, "Add_d") == ["int8 s", "c"]


def test_constants_in_sums_are_left_alone(tmp_path: Path) -> None:
    model = parse(
        """g (float[N,4,10,10] x) => (float[A,B,C,D] y) { a = Add(x, k)  y = Conv(a, w) }""",
        {"k": normal(4, 1, 1), "w": normal(3, 4, 1, 1)},
    )
    made, found = quantised(model, tmp_path)
    assert made.layers == ("Conv_y",)
    assert placement_problems(found) == []


def test_dead_channels_have_a_scale(tmp_path: Path) -> None:
    w = normal(3, 4, 1, 1)
    w[1] = 0
    model = parse("g (float[N,4,10,10] x) => (float[A,B,C,D] y) { y = Conv(x, w) }", {"w": w})
    assert placement_problems(quantised(model, tmp_path)[1]) == []


def test_the_same_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    made, _ = quantised(NETWORK, tmp_path)
    before = made.path.read_bytes()
    assert quantised(NETWORK, tmp_path)[0].path.read_bytes() == before


def test_networks_in_int8_are_not_quantised_again(save: Save, tmp_path: Path) -> None:
    text = """g (float[N,4,10,10] x) => (float[A,B,C,D] y) {
        q = QuantizeLinear(x, s) d = DequantizeLinear(q, s) y = Conv(d, w)
    }"""
    weights = {"w": normal(3, 4, 1, 1), "s": np.float32(0.1)}
    with pytest.raises(BuildError, match="quantised already"):
        quantise(save(parse(text, weights)), {"x": 1.0, "d": 1.0}, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_old_opsets_are_raised(tmp_path: Path) -> None:
    """Softmax meant something else in opset 11: the converter adds nodes, and they have names."""
    model = parse(
        "g (float[N,4,10,10] x) => (float[A,B,C,D] y) { a = Conv(x, w) y = Softmax <axis=1> (a) }",
        {"w": normal(3, 4, 10, 10) / 20},
        opset=11,
    )
    made, found = quantised(model, tmp_path)
    assert found.opset_imports[""] == 13
    assert made.layers == ("Conv_a",)
    assert all(node.name for node in found.graph)
    assert Judge(tmp_path / "model.onnx", batches(X, 8))(made.path).error < 0.05


def test_problems_are_found() -> None:
    """Each rule has a graph that breaks it."""
    weights = {"w": normal(4, 4, 1, 1), "b": normal(4), "s": np.float32(0.1), "z": np.int8(0)}
    pair = "{0}q = QuantizeLinear({0}, s, z) {0}d = DequantizeLinear({0}q, s, z) "

    def problems(text: str, **other: object) -> str:
        head = "g (float[N,4,10,10] x) => (float[A,B,C,D] y) {"
        return "; ".join(
            placement_problems(ir.from_proto(parse(head + text + "}", {**weights, **other})))
        )

    x, w, b, a = (pair.format(name) for name in "xwba")
    assert problems(x + w + "y = Conv(xd, wd, b)") == ""
    assert "half quantised" in problems(x + "y = Conv(xd, w, b)")
    assert "quantised bias" in problems(x + w + b + "y = Conv(xd, wd, bd)")
    assert "zero point" in problems(x + w + "y = Conv(xd, wd)", z=np.int8(3))
    assert "above zero" in problems(x + w + "y = Conv(xd, wd)", s=np.float32(0))
    parted = x + w + "a = Conv(xd, wd) " + a + "y = Relu(ad)"
    assert "parts Conv" in problems(parted)
    assert "output 'y' is quantised" in problems(
        "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
    )
    both = (
        x + w + "a = Conv(xd, wd) " + a + pair.format("x").replace("xq", "xr").replace("xd", "xe")
    )
    assert "nothing is fused" in problems(both + "y = Add(ad, xe)")
    assert "half quantised" in problems(x + "r = Relu(x) y = Add(xd, r)")
    assert "shared by 2" in problems(x + w + "a = Conv(xd, wd) y = Add(a, xd)")


def test_an_input_that_is_an_output_too_stays_in_float(tmp_path: Path) -> None:
    model = parse(
        "g (float[N,3,8,8] x) => (float[N,C,6,6] y, float[N,3,8,8] x) { y = Conv (x, w) }",
        {"w": normal(4, 3, 3, 3)},
    )
    made, _ = quantised(model, tmp_path, normal(8, 3, 8, 8))
    assert made.layers == ()
    assert "is an output of the network as well" in str(made.left)
