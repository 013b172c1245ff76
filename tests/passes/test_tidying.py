"""The prepare passes that are mostly onnx-ir's and onnxscript's: what edgecc relies on."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import largest_gap, normal, operators, outputs, parse, run_passes

from edgecc import catalog
from edgecc.errors import ModelError


def test_identities_of_every_kind_go() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            a = Identity(x)  b, mask = Dropout(a)  c = Pad(b, none)
            d = Transpose <perm=[0,1,2,3]> (c)  e = Concat <axis=1> (d)
            f = Cast <to=1> (e)  h = Reshape(f, shape)  i = Conv(h, w)  y = Identity(i)
        }""",
        {"none": np.zeros(8, np.int64), "shape": np.array([1, 4, 9, 9]), "w": normal(2, 4, 3, 3)},
    )
    tidy, _ = run_passes(model, "name_everything, infer_shapes, remove_identities")
    assert operators(tidy) == ["Conv 2x4x3x3"]
    assert largest_gap(model, tidy) == 0


def test_an_identity_between_input_and_output_stays() -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Identity(x) }")
    tidy, _ = run_passes(model, "remove_identities")
    assert operators(tidy) == ["Identity"]


def test_an_identity_between_two_outputs_stays() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[A,B,C,D] a, float[A,B,C,D] z, float[A,B,C,D] r) {
            a = Conv(x, w)  z = Identity(a)  b = Identity(a)  r = Relu(b)
        }""",
        {"w": normal(2, 4, 3, 3)},
    )
    tidy, decisions = run_passes(model, "name_everything, remove_identities")
    assert operators(tidy) == ["Conv 2x4x3x3", "Identity", "Relu"]
    assert sum(d.refusal is not None for d in decisions) == 1
    assert largest_gap(model, tidy) == 0


def test_a_dropout_that_is_used_in_training_stays() -> None:
    model = parse(
        "g (float[1,4] x) => (float[1,4] y) { y = Dropout(x, ratio, on) }",
        {"ratio": np.float32(0.5), "on": np.array(True)},
    )
    assert operators(run_passes(model, "remove_identities")[0]) == ["Dropout"]


def test_initialisers_leave_the_inputs_and_constants_become_initialisers() -> None:
    model = parse(
        """g (float[1,4,9,9] x, float[2,4,3,3] w) => (float[N,C,H,W] y) {
            c = Conv(x, w)  k = Constant <value_float=2.0> ()  y = Mul(c, k)
        }""",
        {"w": normal(2, 4, 3, 3)},
        opset=13,
    )
    model.ir_version = 3
    lifted, decisions = run_passes(model, "lift_constants")
    assert [value.name for value in lifted.graph.inputs] == ["x"]
    assert operators(lifted) == ["Conv 2x4x3x3", "Mul"]
    assert lifted.ir_version >= 4
    assert {d.note for d in decisions} == {"lifted", "no longer an input"}
    x = normal(1, 4, 9, 9)
    np.testing.assert_array_equal(outputs(model, x=x)["y"], outputs(lifted, x=x)["y"])


def test_shape_arithmetic_folds_where_the_shape_is_known() -> None:
    model = parse(
        """g (float[2,4,3,3] x) => (float[N,M] y) {
            s = Shape(x)  b = Gather(s, zero)  u = Unsqueeze(b, axes)
            t = Concat <axis=0> (u, rest)  y = Reshape(x, t)
        }""",
        {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])},
    )
    folded, _ = run_passes(model, "name_everything, infer_shapes, fold_constants")
    assert operators(folded) == ["Reshape"]
    assert largest_gap(model, folded) == 0


def test_results_of_absurd_size_are_not_folded() -> None:
    model = parse(
        "g (float[1] x) => (float[N] y) { c = ConstantOfShape(huge)  y = Add(c, x) }",
        {"huge": np.array([10**12])},
    )
    folded, _ = run_passes(model, "name_everything, infer_shapes, fold_constants")
    assert operators(folded) == ["ConstantOfShape", "Add"]


def test_a_small_constant_of_shape_is_folded() -> None:
    model = parse(
        "g (float[1,3,9,9] x) => (float[A,B,C,D] y) { w = ConstantOfShape(s)  y = Conv(x, w) }",
        {"s": np.array([2, 3, 3, 3])},
    )
    folded, _ = run_passes(model, "name_everything, infer_shapes, fold_constants")
    assert operators(folded) == ["Conv 2x3x3x3"]
    assert largest_gap(model, folded) == 0


def test_contradicting_shapes_are_loud() -> None:
    model = parse(
        "g (float[1,4] x) => (float[1,2] y) { y = MatMul(x, w) }",
        {"w": normal(5, 2)},
    )
    with pytest.raises(ModelError, match="shapes of the model contradict"):
        run_passes(model, "infer_shapes")


def test_every_node_and_value_has_a_name_of_its_own() -> None:
    model = parse(
        "g (float[1,4,9,9] x) => (float[N,C,H,W] y) { c = Conv(x, w)  r = Relu(c)  y = Relu(r) }",
        {"w": normal(2, 4, 3, 3)},
    )
    model.graph.node[1].name = model.graph.node[2].name = "twice"
    named, _ = run_passes(model, "name_everything")
    assert [node.name for node in named.graph] == ["Conv_c", "twice", "twice_1"]


def test_functions_are_inlined() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
        g (float[1,4,9,9] x, float[2,4,3,3] w) => (float[N,C,H,W] y) { y = my.Block(x, w) }
        <domain: "my", opset_import: ["" : 17]>
        Block (a, b) => (r) { c = Conv(a, b) r = Relu(c) }"""
    inlined, _ = run_passes(onnx.parser.parse_model(text), "inline_functions")
    assert [node.op_type for node in inlined.graph] == ["Conv", "Relu"]


def test_float16_becomes_float32_inside_only() -> None:
    model = parse(
        """g (float16[1,4,9,9] x) => (float16[N,C,H,W] y) {
            c = Conv(x, w)  d = Cast <to=1> (c)  e = Cast <to=10> (d)  y = Relu(e)
        }""",
        {"w": normal(2, 4, 3, 3).astype(np.float16)},
    )
    wide, decisions = run_passes(model, "name_everything, infer_shapes, widen_float16")
    assert decisions[-1].by == "widen_float16"
    assert wide.graph.initializers["w"].dtype.name == "FLOAT"
    x = normal(1, 4, 9, 9).astype(np.float16)
    before, after = outputs(model, x=x)["y"], outputs(wide, x=x)["y"]
    assert before.dtype == after.dtype == np.float16
    np.testing.assert_allclose(after.astype(float), before.astype(float), atol=2e-2)


def test_float32_is_left_alone() -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    assert run_passes(model, "widen_float16")[1] == []


def test_a_mixed_precision_network_is_one_network() -> None:
    model = parse(
        """g (float16[1,4,9,9] x) => (float[A,B,C,D] y) {
            c = Conv(x, w)  f = Cast <to=1> (c)  y = BatchNormalization (f, s, t, t, s)
        }""",
        {"w": normal(2, 4, 3, 3).astype(np.float16), "s": np.ones(2, np.float32), "t": normal(2)},
    )
    tidy, _ = run_passes(model, str(catalog.prepare()))
    assert operators(tidy) == ["Cast", "Conv 2x4x3x3 bias"]


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize("sizes", [np.array(1), np.array(2), np.array([1, 2])])
def test_sequences_become_splits_that_the_opset_knows(opset: int, sizes: np.ndarray) -> None:
    model = parse(
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) {
            s = SplitToSequence <axis=1> (x, sizes)  e = SequenceAt(s, one)  y = Relu(e)
        }""",
        {"sizes": sizes, "one": np.array(1)},
        opset=opset,
    )
    tidy, _ = run_passes(model, "name_everything, infer_shapes, fold_constants")
    assert [text.split()[0] for text in operators(tidy)] == ["Split", "Relu"]
    onnx.checker.check_model(ir.to_proto(tidy), full_check=True)
    assert largest_gap(model, tidy) == 0
