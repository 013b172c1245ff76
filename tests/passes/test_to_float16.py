from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import conv_model, normal, operators, outputs, parse, random_inputs, run_passes

from edgecc import bundle, catalog, oracle
from edgecc.model import load

PREPARED = "name_everything, infer_shapes, to_float16"


def types(model: ir.Model) -> dict[str, str]:
    return {v.name or "": str(v.dtype) for node in model.graph for v in node.outputs}


def gap(model: onnx.ModelProto, narrow: ir.Model) -> float:
    """The largest difference, in units of the largest output."""
    feed = random_inputs(model)
    before, after = outputs(model, **feed), outputs(narrow, **feed)
    assert before.keys() == after.keys()
    gaps = []
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        gaps.append(np.abs(after[name] - array).max() / np.abs(array).max())
    return float(max(gaps))


def test_a_convolution_between_two_casts() -> None:
    model = conv_model(12, 8, (3, 3))
    narrow, decisions = run_passes(model, PREPARED)
    assert operators(narrow) == ["Cast", "Conv 12x8x3x3 bias", "Cast"]
    assert [d.note for d in decisions if d.by == "to_float16"] == ["1 operators compute in float16"]
    assert {str(v.dtype) for v in narrow.graph.initializers.values()} == {"FLOAT16"}
    assert narrow.graph.inputs[0].dtype == narrow.graph.outputs[0].dtype == ir.DataType.FLOAT
    assert 1e-6 < gap(model, narrow) < 2e-3
    onnx.checker.check_model(ir.to_proto(narrow), full_check=True)


def test_what_leaves_the_range_stays_in_float32() -> None:
    model = parse(
        """g (float[1,4,8,8] x) => (float[N,M] y, float[N,C,H,W] r) {
            a = Conv(x, w)  r = Relu(a)  n = InstanceNormalization(r, one, zero)
            p = GlobalAveragePool(n)  f = Flatten(p)  y = Softmax(f)
        }""",
        {"w": normal(6, 4, 3, 3), "one": np.ones(6, np.float32), "zero": np.zeros(6, np.float32)},
    )
    narrow, decisions = run_passes(model, PREPARED)
    told = types(narrow)
    assert told["a"] == told["r.half"] == told["p"] == "FLOAT16"
    assert told["n"] == told["y"] == told["r"] == "FLOAT"
    note = decisions[-1].note or ""
    assert "1 in float32: InstanceNormalization; 1 in float32: Softmax" in note
    assert gap(model, narrow) < 5e-3
    assert [o.name for o in narrow.graph.outputs] == ["y", "r"]


def test_a_constant_that_float16_cannot_hold_stays() -> None:
    model = parse(
        "g (float[1,4] x) => (float[1,4] y) { a = Mul(x, big)  y = Mul(a, small) }",
        {"big": np.full(4, 1e6, np.float32), "small": np.full(4, 1e-3, np.float32)},
    )
    narrow, decisions = run_passes(model, PREPARED)
    assert "Mul with a constant of 1e+06" in (decisions[-1].note or "")
    assert types(narrow)["a"] == "FLOAT"


def test_scales_of_a_resize_have_no_other_type_and_stay() -> None:
    model = parse(
        """g (float[1,4,8,8] x) => (float[A,B,C,D] y) {
            a = Conv(x, w)  y = Resize <mode="nearest"> (a, , scales)
        }""",
        {"w": normal(4, 4, 1, 1), "scales": np.array([1, 1, 2, 2], np.float32)},
    )
    narrow, _ = run_passes(model, PREPARED)
    assert narrow.graph.initializers["scales"].dtype == ir.DataType.FLOAT
    assert "w" not in narrow.graph.initializers
    assert gap(model, narrow) < 2e-3


def test_a_weight_that_both_sides_read_is_there_twice() -> None:
    model = parse(
        "g (float[1,4] x) => (float[1,4] y) { a = Mul(x, w)  b = Pow(a, w)  y = Add(a, b) }",
        {"w": np.full(4, 2, np.float32)},
    )
    narrow, _ = run_passes(model, PREPARED)
    kinds = {name: str(v.dtype) for name, v in narrow.graph.initializers.items()}
    assert kinds == {"w": "FLOAT", "w.half": "FLOAT16"}
    assert gap(model, narrow) < 5e-3


def test_a_branch_keeps_its_types() -> None:
    model = parse(
        """g (float[1,4] x, bool c) => (float[1,4] y) {
            a = Mul(x, x)
            b = If (c) <
                then_branch = t () => (float[1,4] p) { p = Add(a, a) },
                else_branch = e () => (float[1,4] q) { q = Identity(a) } >
            y = Relu(b)
        }"""
    )
    narrow, _ = run_passes(model, PREPARED)
    kinds = " ".join(node.op_type for node in narrow.graph)
    assert kinds == "Cast Mul Cast If Cast Relu Cast"
    onnx.checker.check_model(ir.to_proto(narrow), full_check=True)


def test_a_quantised_network_is_refused() -> None:
    model = parse(
        """g (float[1,4] x) => (float[1,4] y) {
            q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)
        }""",
        {"s": np.float32(0.1), "z": np.int8(0)},
    )
    narrow, decisions = run_passes(model, PREPARED)
    assert decisions[-1].refusal == "it is quantised"
    assert operators(narrow) == ["QuantizeLinear", "DequantizeLinear"]


def test_whole_numbers_are_left_alone() -> None:
    model = parse("g (int64[4] x) => (int64[4] y) { y = Add(x, x) }")
    assert run_passes(model, PREPARED)[1][-1].by != "to_float16"


@pytest.mark.parametrize("name", ["cifar10/resnet20", "misc/mlperf_vww96"])
def test_a_trained_network_moves_by_less_than_a_hundredth(
    assets: Path, tmp_path: Path, name: str
) -> None:
    path = assets / "models" / f"{name}.onnx"
    graph = load(path)
    sizes = [size if isinstance(size, int) else 1 for size in graph.graph.inputs[0].shape or ()]
    feed = {graph.graph.inputs[0].name or "": normal(*sizes)}
    before = oracle.run(path, feed)
    catalog.prepare().run(graph)
    catalog.pipeline("to_float16").run(graph)
    after = oracle.run(bundle.save_model(graph, tmp_path / "narrow.onnx"), feed)
    for key, array in before.items():
        assert np.abs(after[key] - array).max() < 1e-2 * np.abs(array).max()
