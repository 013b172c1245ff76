"""Every operator of the table, under each older opset, against itself in onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from helpers import largest_gap, normal, operators, parse, run_passes
from older_operators import CASES, IMAGE
from tensorrt_parser import complaints

LOWER = "name_everything, lift_constants, infer_shapes, lower_opset(opset={})"
AFTER = "infer_shapes, fold_constants, remove_unused, narrow_int64, sanitise_names, infer_shapes"
TO_17 = "name_everything, infer_shapes, lower_opset(opset=17, reader=TensorRT 8.5)"


STEPS = [
    (name, opset)
    for name, case in CASES.items()
    for opset in (17, 13, 11)
    if case.oldest <= opset < case.opset
]


@pytest.mark.parametrize(("name", "opset"), STEPS)
def test_numbers_stay(name: str, opset: int) -> None:
    case = CASES[name]
    model = case.model()
    lowered, decisions = run_passes(model, LOWER.format(opset))
    assert lowered.opset_imports[""] == opset
    assert decisions[-1].note == f"opset {case.opset} is now {opset}"
    if "N,4" in case.inputs:
        for dim, size in zip(
            model.graph.input[0].type.tensor_type.shape.dim, (2, 4, 5, 6), strict=True
        ):
            dim.dim_value = size
    assert largest_gap(model, lowered) < 1e-6


def test_operators_that_mean_the_same_keep_their_form() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            c = Conv(x, w)  r = Relu(c)  p = Pad(r, pads)  y = MaxPool <kernel_shape=[2,2]> (p)
        }""",
        {"w": normal(2, 4, 3, 3), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
        opset=21,
    )
    lowered, decisions = run_passes(model, TO_17)
    assert lowered.opset_imports[""] == 17
    assert [d.note for d in decisions if d.by == "lower_opset"] == ["opset 21 is now 17"]
    assert largest_gap(model, lowered) == 0


@pytest.mark.parametrize(
    ("name", "opset", "made"),
    [
        ("Softmax last", 11, ["Softmax"]),
        ("Softmax of points", 11, ["GlobalAveragePool", "Softmax"]),
        ("Softmax middle", 11, ["Transpose", "Softmax", "Transpose"]),
        ("Softmax middle", 12, ["Transpose", "Softmax", "Transpose"]),
        ("HardSwish", 13, ["HardSigmoid", "Mul"]),
        ("Gelu", 17, ["Mul", "Erf", "Mul", "Add", "Mul"]),
        ("GroupNorm 18", 17, ["Reshape", "InstanceNormalization", "Reshape"]),
        ("ReduceMean none", 17, ["Identity"]),
        ("Pad wrap", 17, ["Slice", "Concat", "Slice", "Concat", "Slice", "Slice", "Concat"]),
    ],
)
def test_what_stands_in_its_place(name: str, opset: int, made: list[str]) -> None:
    lowered, _ = run_passes(CASES[name].model(), LOWER.format(opset))
    assert operators(lowered) == made


@pytest.mark.slow
@pytest.mark.parametrize(("name", "opset"), STEPS)
def test_the_parser_of_tensorrt_takes_it(name: str, opset: int) -> None:
    if name == "QDQ":
        pytest.skip("TensorRT wants a zero point of 0")
    lowered, _ = run_passes(CASES[name].model(), f"{LOWER}, {AFTER}".format(opset))
    assert complaints(ir.to_proto(lowered)) == []


def test_a_network_of_many_with_shared_constants() -> None:
    model = parse(
        f"""g ({IMAGE}) => (float[A,B,C,D] y, float[E] z) {{
            n = GroupNormalization <num_groups=2> (x, s, s)  g0 = Gelu(n)
            m = ReduceMean(g0, axes)  v = ReduceMax(g0, axes)  u = Unsqueeze(v, axes)
            t = Squeeze(u, axes)  d = Sub(g0, m)  h = HardSwish(d)  p = Pad(h, pads, , axes)
            r = Resize <mode="linear", axes=[2, 3]> (p, , two)  y = Softmax <axis=1> (r)
            a, b = Split <num_outputs=2, axis=1> (t)  c = Concat <axis=0> (a, b)
            e = Mish(c)  z = ReduceSum <keepdims=0> (e, axes)
        }}""",
        {
            "s": normal(4),
            "axes": np.array([2, 3]),
            "pads": np.array([1, 0, 2, 1]),
            "two": np.array([2, 2], np.float32),
        },
        opset=21,
    )
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for opset in (20, 17, 14, 11):
        lowered, _ = run_passes(model, f"{LOWER}, {AFTER}".format(opset))
        assert lowered.opset_imports[""] == opset
        assert largest_gap(model, lowered) < 1e-6
    assert "axes" not in lowered.graph.initializers


def test_every_node_is_told_of_and_stamped() -> None:
    model = parse(
        f"g ({IMAGE}) => (float[A,B,C,D] y) {{ h = HardSwish(x)  y = Softmax <axis=1> (h) }}"
    )
    lowered, decisions = run_passes(model, LOWER.format(11))
    assert [(d.node, d.note) for d in decisions if d.by == "lower_opset"] == [
        ("HardSwish_h", "HardSwish (opset 14): x * HardSigmoid(x)"),
        ("Softmax_y", "Softmax (opset 13): Transpose, Softmax along the last axis, Transpose"),
        ("g", "opset 17 is now 11"),
    ]
    assert [(node.name, node.outputs[0].name) for node in lowered.graph] == [
        ("HardSwish_h.hardsigmoid", "HardSwish_h.hardsigmoid.out"),
        ("HardSwish_h.mul", "h"),
        ("Softmax_y.transpose", "Softmax_y.transpose.out"),
        ("Softmax_y.softmax", "Softmax_y.softmax.out"),
        ("Softmax_y.transpose1", "y"),
    ]
    assert lowered.graph[-1].metadata_props["edgecc.origin"] == "Softmax_y"
    assert lowered.ir_version == 6


def test_a_reader_of_opsets_to_come_changes_nothing() -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }", opset=13)
    lowered, _ = run_passes(model, LOWER.format(99))
    assert (lowered.opset_imports[""], lowered.ir_version) == (13, 8)


def test_an_older_model_is_left_alone() -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }", opset=13)
    lowered, decisions = run_passes(model, TO_17)
    assert lowered.opset_imports[""] == 13
    assert lowered.ir_version == 8
    assert not [d for d in decisions if d.by == "lower_opset"]
