"""The operator check: each rule on the release before and the one behind, and the real models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import normal, parse

from edgecc.errors import BuildError
from targets.tensorrt.check import Finding, check, refuse
from targets.tensorrt.operators import support
from targets.tensorrt.versions import release

MAP = "float[1,3,9,9] x"

Save = Callable[..., Path]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def findings(save: Save, model: onnx.ModelProto, version: str) -> list[Finding]:
    return check(save(model), release(version))


PADS = {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}
RESIZE = {"s": floats(1, 1, 2, 2)}
W = {"w": normal(4, 3, 3, 3)}
ASYMMETRIC = 'coordinate_transformation_mode="asymmetric"'
SCALE = np.float32(0.1)
# the body, weights, releases that take it, releases that do not, and what they say
RULES = [
    ("y = Det(x)", {}, "", "7.1 8.5 10.3 10.15", "has no Det"),
    ("y = GridSample(x, x)", {}, "8.5 8.6 10.3", "7.1 8.2 8.4", "has no GridSample"),
    ("y = HardSwish(x)", {}, "8.4 8.5", "7.1 8.2", "has no HardSwish"),
    ("y = LayerNormalization(x, x)", {}, "8.6 10.0", "8.5", "has no LayerNormalization"),
    ("y, m = LayerNormalization(x, x)", {}, "", "8.6 10.0", "has the first output"),
    ("y = Mish(x)", {}, "10.0", "8.6", "has no Mish"),
    ("y = Einsum <equation='ii->i'> (x)", {}, "10.3", "8.0 8.5", "Einsum"),
    ("y = Einsum <equation='...i->i'> (x)", {}, "10.3", "8.2", "knows no ellipsis"),
    ("y = Einsum <equation='ij,jk->ik'> (a, b)", {}, "8.2 8.5", "8.0", "has no Einsum"),
    ("y = Einsum <equation='ij,ij->i'> (a, c)", {}, "10.3", "8.2", "does not broadcast"),
    ("y = Mod(x, x)", {}, "8.5", "8.4", "has no Mod"),
    ("y = Round(x)", {}, "8.2", "8.0", "has no Round"),
    ("y = RoiAlign(x, x, x)", {}, "8.5", "8.4", "has no RoiAlign"),
    ("y = ScatterND(x, x, x)", {}, "8.2", "8.0", "has no ScatterND"),
    ("y = ScatterND <reduction='add'> (x, x, x)", {}, "", "8.5 10.15", "knows no reduction=add"),
    ("y = ScatterElements <reduction='add'> (x, x, x)", {}, "10.0", "8.5", "knows no reduction"),
    ("y = Reciprocal(x)  d = Dropout(x)", {}, "7.1 8.5", "", ""),
    # convolutions
    ("y = Conv(x, w)", W, "7.1 8.0 8.5", "", ""),
    ("y = Conv <pads=[1,0,2,1]> (x, w)", W, "7.1 8.0 8.5", "", ""),
    ("y = Conv(l, w)", {"w": normal(4, 3, 3)}, "7.1 8.0 8.5", "", ""),
    ("y = Conv(q, w)", {"w": normal(4, 3, 1, 1, 1, 1)}, "", "7.1 10.3", "spatial dimensions"),
    ("v = Relu(x) y = Conv(x, v)", {}, "8.5 8.6", "7.1 8.4", "takes the weights"),
    ("y = ConvTranspose <output_padding=[1,1], strides=[2,2]> (x, w)", W, "7.1 8.5", "", ""),
    ("y = ConvTranspose <dilations=[2,2]> (x, w)", W, "8.0", "7.1", "takes no dilations"),
    ("y = MatMul(i, i)", {}, "", "7.1 8.5", "multiplies no integers"),
    # pools
    ("y = MaxPool <kernel_shape=[3,3], ceil_mode=1> (x)", {}, "7.1 8.5", "", ""),
    ("y = AveragePool <kernel_shape=[3,3], count_include_pad=1> (x)", {}, "7.1", "", ""),
    ("y = AveragePool <kernel_shape=[3,3,3]> (v)", {}, "7.1 8.5", "", ""),
    ("y = AveragePool <kernel_shape=[3,3,3,3]> (q)", {}, "", "7.1 8.5", "2-D and 3-D windows"),
    ("y = MaxPool <kernel_shape=[3,3], dilations=[2,2]> (x)", {}, "", "7.1 8.5 10.3", "dilations"),
    ("y, k = MaxPool <kernel_shape=[3,3]> (x)", {}, "", "7.1 8.5 10.3", "Indices"),
    # normalisation
    ("y = InstanceNormalization(x, b, b)", {"b": normal(3)}, "7.1 8.5", "", ""),
    ("s = Relu(a) y = InstanceNormalization(x, s, s)", {}, "10.0", "7.1 8.5", "scale and B"),
    ("y = InstanceNormalization(v, b, b)", {"b": normal(3)}, "8.0", "7.1", "one or two spatial"),
    ("y = InstanceNormalization(q, b, b)", {"b": normal(3)}, "10.0", "8.5", "3 to 5 dimensions"),
    # pads
    ("y = Pad(x, p)", PADS, "7.1 8.0 8.5", "", ""),
    ("y = Pad(x, p, n)", {**PADS, "n": np.float32(1)}, "8.2", "7.1 8.0", "pads with 0 alone"),
    ("y = Pad <mode='reflect'> (x, p)", PADS, "8.2 8.5", "7.1 8.0", "this mode is reflect"),
    ("y = Pad <mode='wrap'> (x, p)", PADS, "10.0", "8.2 8.5", "knows no mode=wrap"),
    ("y = Pad(x, p)", {"p": ints(0, 1, 0, 0, 0, 1, 0, 0)}, "8.0", "7.1", "the last two dimensions"),
    ("y = Pad(x, p)", {"p": ints(0, 1, 1, 1, 0, 0, 0, 0)}, "8.2", "8.0", "pads two dimensions"),
    ("s = Shape(x) y = Pad(x, s)", {}, "8.2", "8.0", "takes pads of Pad as an initializer"),
    ("y = Pad(x, p, , c)", {"p": ints(1, 1), "c": ints(3)}, "7.1 8.0 8.5 10.3", "", ""),
    # resizing
    (f"y = Resize <{ASYMMETRIC}, mode='linear'> (x, , s)", RESIZE, "7.1 8.0", "", ""),
    ("y = Resize <mode='linear'> (x, , s)", RESIZE, "8.0 8.5", "7.1", "resizes asymmetric alone"),
    (f"y = Resize <{ASYMMETRIC}> (x, , s)", RESIZE, "8.0", "7.1", "takes the nearest by floor"),
    ("y = Resize <mode='cubic'> (x, , s)", RESIZE, "8.6 10.3", "8.0 8.5", "mode=cubic"),
    (
        "y = Resize <coordinate_transformation_mode='tf_crop_and_resize'> (x, r, s)",
        {**RESIZE, "r": normal(8)},
        "",
        "7.1 8.5 10.3",
        "tf_crop_and_resize",
    ),
    ("h = Relu(f) y = Resize(x, , h)", {}, "8.2 8.4", "8.0", "takes the scales of Resize"),
    ("y = Resize <antialias=1> (x, , s)", RESIZE, "", "10.3", "without antialiasing"),
    # what is taken apart
    ("y = Slice(x, o, t, c)", {"o": ints(0), "t": ints(2), "c": ints(1)}, "7.1 8.5", "", ""),
    ("h = Shape(x) y = Slice(x, o, o, h)", {"o": ints(0)}, "10.3", "8.5", "takes the axes"),
    ("y, z = Split(x, o)", {"o": ints(1, 2)}, "8.0", "", ""),
    ("h = Shape(x) y = Split(x, h)", {}, "8.2", "8.0", "takes the sizes"),
    ("y = Clip(x, n)", {"n": np.float32(0)}, "7.1", "", ""),
    ("n = ReduceMin(x) y = Clip(x, n)", {}, "8.2", "7.1", "takes min and max"),
    ("h = Shape(x) y = CumSum(x, h)", {}, "", "8.5", "takes the axis of CumSum"),
    ("h = Shape(x) y = Unsqueeze(x, h)", {}, "", "8.5", "takes the axes of Unsqueeze"),
    ("y = Reshape(x, o)", {"o": ints(0, -1)}, "7.1 8.5", "", ""),
    # choosing
    ("y, z = TopK(x, o)", {"o": ints(3840)}, "7.1 8.5", "", ""),
    ("y, z = TopK(x, o)", {"o": ints(3841)}, "", "7.1 8.5 10.3", "3840 values in TopK"),
    ("y, z = TopK <sorted=0> (x, o)", {"o": ints(5)}, "", "8.5", "sorted"),
    ("h = Shape(x) y, z = TopK(x, h)", {}, "8.6", "8.5", "takes K of TopK"),
    ("y = ArgMax(i)", {}, "8.6", "8.5", "takes no integers in ArgMax"),
    ("y = GatherElements(x, o)", {"o": ints(-1)}, "8.2", "8.0", "takes no negative indices"),
    ("y = ReverseSequence(n, i)", {}, "8.6", "8.5", "takes fixed sizes alone"),
    ("h = ReduceMin(x) y = Range(h, h, h)", {}, "8.4", "8.2", "takes fractions in Range"),
    ("y = NonMaxSuppression(x, x, o)", {"o": ints(5)}, "8.0 8.5", "7.1", "NonMaxSuppression"),
    ("h = Shape(x) y = NonMaxSuppression(x, x, h)", {}, "8.5", "8.4", "takes its limits"),
    ("y = GridSample(v, v)", {}, "", "8.5 10.3", "4 dimensions"),
    # quantisation
    ("y = QuantizeLinear(x, s, z)", {"s": SCALE, "z": np.int8(0)}, "8.0 8.5 10.3", "7.1", "has no"),
    ("y = QuantizeLinear(x, s, z)", {"s": SCALE, "z": np.uint8(0)}, "", "8.5", "this is UINT8"),
    ("y = QuantizeLinear(x, s)", {"s": SCALE}, "", "8.5", "this is UINT8"),
    ("y = QuantizeLinear(x, s, z)", {"s": SCALE, "z": np.int8(3)}, "", "8.5", "around zero alone"),
    (
        "p = QuantizeLinear(w, s, z) d = DequantizeLinear(p, s, z) y = Conv(x, d)",
        {**W, "s": SCALE, "z": np.int8(0)},
        "8.0 8.5",
        "",
        "",
    ),
    # types
    ("y = Cast <to=1> (x)", {}, "7.1", "", ""),
    ("y = Cast <to=11> (x)", {}, "8.0", "7.1", "casts to no DOUBLE"),
    ("y = Cast <to=2> (x)", {}, "8.6", "8.5", "casts to no UINT8"),
    ("y = Cast <to=5> (x)", {}, "", "7.1 8.5 10.3", "casts to no INT16"),
    ("y = Add(x, e)", {"e": np.ones(9)}, "8.0", "7.1", "has no tensors of DOUBLE; Add reads one"),
    ("y = Cast <to=1> (e)", {"e": np.array(["a"], object)}, "", "8.5", "tensors of STRING"),
    ("y = Sum(x, e)", {"e": np.ones(9, np.uint8)}, "7.1", "", ""),
    # foreign operators
    ("y = com.microsoft.Gelu(x)", {}, "", "7.1 8.5 10.3", "has no com.microsoft::Gelu"),
    ("y = If(k) <then_branch = t () => (float[] u) { u = Det(x) }, else_branch = e () =>"
     " (float[] o) { o = Relu(x) }>", {}, "", "8.5", "has no Det"),
]  # fmt: skip
INPUTS = (
    f"{MAP}, float[1,3,9] l, float[1,3,9,9,9] v, float[1,3,9,9,9,9] q, float[3,4] a, float[4,5] b,"
    " float[1,4] c, int32[4,4] i, float[4] f, float[N,4] n, bool k"
)


@pytest.mark.parametrize(("body", "weights", "taken", "refused", "reason"), RULES)
def test_rules(
    save: Save, body: str, weights: dict[str, Any], taken: str, refused: str, reason: str
) -> None:
    inputs = ", ".join(i for i in INPUTS.split(", ") if i.split()[1] not in weights)
    path = save(_of(body, weights, inputs))
    for version in taken.split():
        assert [f for f in check(path, release(version)) if f.fatal] == [], version
    for version in refused.split():
        fatal = [f for f in check(path, release(version)) if f.fatal]
        assert reason in fatal[0].reason, (version, fatal)
        assert fatal[0].hint


def _of(body: str, weights: dict[str, Any], inputs: str) -> onnx.ModelProto:
    text = f"g ({inputs}) => (float[] y) {{ {body.replace(chr(39), chr(34))} }}"
    header = '<ir_version: 8, opset_import: ["" : 11, "com.microsoft" : 1]>'
    model = onnx.parser.parse_model(f"{header} {text}")
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return model


def test_an_operator_is_in_one_list() -> None:
    names = [name for names in support.ADDED.values() for name in names.split()]
    assert len(names) == len(set(names))
    assert not support.NEVER & set(names)
    assert set(support.INSTEAD) <= support.NEVER | set(names)


def test_every_operator_of_onnx_has_a_verdict() -> None:
    """But for those newer than the newest table, and those of training."""
    current = {
        schema.name
        for schema in onnx.defs.get_all_schemas()
        if schema.domain == "" and not schema.deprecated and schema.since_version <= 17
    }
    unknown = current - set(support.SINCE) - support.NEVER
    newer = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.since_version > 17}
    assert unknown <= newer, unknown - newer


def test_the_opset(save: Save) -> None:
    model = parse(f"g ({MAP}) => (float[A,B,C,D] y) {{ y = Relu(x) }}", opset=17)
    assert findings(save, model, "8.5.2") == []
    found = findings(save, model, "8.2.1")
    assert [(f.operator, f.fatal) for f in found] == [("opset", True)]
    assert found[0].reason == "reads opset 13 at most; this model needs 17"


def test_an_old_opset_is_a_warning_on_tensorrt_10(save: Save) -> None:
    model = parse(f"g ({MAP}) => (float[A,B,C,D] y) {{ y = Relu(x) }}", opset=8)
    assert findings(save, model, "8.5") == []
    assert [f.fatal for f in findings(save, model, "10.3")] == [False]


@pytest.mark.parametrize(
    ("body", "weights", "version", "reason"),
    [
        ("y = MaxPool <kernel_shape=[3]> (l)", {}, "8.5", "2-D and 3-D windows by its documents"),
        ("y = Resize <mode='cubic'> (x, , s)", RESIZE, "10.3", "knows no mode=cubic"),
        ("y = NewThing(x)", {}, "8.5", "does not document NewThing"),
        ("y = com.microsoft.EfficientNMS_TRT(x)", {}, "8.5", "needs its plugin library"),
        ("y = Gather(x, o)", {"o": ints(2**40)}, "8.5", "narrows INT64 to 32 bits"),
    ],
)
def test_what_documents_leave_open_is_a_warning(
    save: Save, body: str, weights: dict[str, Any], version: str, reason: str
) -> None:
    found = check(save(_of(body, weights, f"{MAP}, float[1,3,9] l")), release(version))
    assert [(reason in f.reason, f.fatal) for f in found] == [(True, False)]


def test_ends_of_slices_may_be_as_far_as_they_like(save: Save) -> None:
    weights = {"o": ints(0), "t": ints(2**63 - 1), "c": ints(1)}
    model = _of("y = Slice(x, o, t, c)", weights, MAP)
    assert findings(save, model, "7.1") == []


@pytest.mark.parametrize(
    ("kind", "taken"), [("uint8", "8.5 10.3"), ("double", "8.0"), ("int16", "")]
)
def test_types_of_inputs(save: Save, kind: str, taken: str) -> None:
    model = parse(f"g ({kind}[4] x) => (float[4] y) {{ y = Cast <to=1> (x) }}", opset=11)
    for version in ("7.1", "8.0", "8.5", "10.3"):
        found = findings(save, model, version)
        wanted = bool(taken) and release(version).number >= release(taken.split()[0]).number
        assert (found == []) == wanted, (version, found)


def test_sequences_are_refused(save: Save) -> None:
    text = "g (float[4] x) => (seq(float[4]) y) { y = SequenceConstruct(x) }"
    found = findings(save, parse(text, opset=11), "8.5")
    assert {f.operator for f in found} == {"port", "SequenceConstruct"}


def test_quotes_in_names_are_told(save: Save) -> None:
    model = parse(f"g ({MAP}) => (float[A,B,C,D] y) {{ y = Relu(x) }}", opset=11)
    model.graph.node[0].name = 'a "quoted" name'
    found = findings(save, model, "8.5")
    assert [(f.node, f.fatal) for f in found] == [('a "quoted" name', False)]


def test_constants_count_as_initializers(save: Save) -> None:
    body = "k = Constant <value_ints=[3]> () y, z = TopK(x, k)"
    assert findings(save, _of(body, {}, MAP), "8.0") == []


def test_no_onnx_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(BuildError, match="cannot be read as ONNX"):
        check(path, release("8.5"))


def test_the_refusal_names_reader_node_reason_and_the_rest(save: Save) -> None:
    body = "g = GridSample(x, x) h = GridSample(x, x) y = Mod(g, h)"
    model = _of(body, {}, MAP)
    model.graph.node[0].name = "sample_1"
    found = findings(save, model, "8.2")
    with pytest.raises(BuildError) as caught:
        refuse(found, "xavier runs TensorRT 8.2")
    assert caught.value.message == (
        "xavier runs TensorRT 8.2, which has no GridSample (node 'sample_1'); 2 more nodes cannot "
        "be built either"
    )
    assert (caught.value.hint or "").startswith("TensorRT 8.5 (JetPack 5.1) has it; sample outside")
    refuse([f for f in found if not f.fatal], "xavier runs TensorRT 8.2")
    refuse([], "xavier runs TensorRT 8.2")


VERDICTS = {
    # opset 13 is too new for 7.1; lower_opset has taken it down where edgecc wrote the model
    "cifar10/cmsisnn_m7_5x5": {"7.1": ["opset"]},
    "cifar10/mlperf_resnet8_wide": {"7.1": ["opset"]},
    "cifar10/resnet20": {"7.1": ["opset", "Pad", "Pad"]},  # pads channels
    "cifar10/resnet56": {"7.1": ["opset", "Pad", "Pad"]},
    "detect/version-RFB-320": {},
    "detect/version-RFB-320_simplified": {},
    "imagenet/squeezenet1.1_fp16": {},
    "misc/mlperf_vww96": {"7.1": ["opset"]},
    "mnist/mnist_cntk": {},
    "restore/dncnn25": {"7.1": ["opset"]},
    "restore/srmdnf_x2": {"7.1": ["opset"]},
    "restore/super-resolution-10": {},
    "style/candy_std_opset13": {"7.1": ["opset", "Pad"], "8.0": ["Pad"]},  # reflects
}


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("version", ["7.1", "8.0", "8.2", "8.5", "10.3"])
def test_real_models(assets: Path, name: str, version: str) -> None:
    found = check(assets / "models" / f"{name}.onnx", release(version))
    wanted = VERDICTS[name].get(version, [])
    assert [f.operator for f in found if f.fatal] == wanted
