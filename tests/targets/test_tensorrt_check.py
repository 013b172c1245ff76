"""The operator check: each rule on the release before and the one behind, and the real models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import parse
from tensorrt_rules import INPUTS, MAP, RESIZE, RULES, ints

from edgecc.errors import BuildError
from targets.tensorrt.check import Finding, check, refuse
from targets.tensorrt.operators import support
from targets.tensorrt.versions import release

Save = Callable[..., Path]


def findings(save: Save, model: onnx.ModelProto, version: str) -> list[Finding]:
    return check(save(model), release(version))


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


def test_weights_in_a_file_of_their_own_are_not_needed(tmp_path: Path) -> None:
    body = "f = Conv(x, w) y, z = TopK(f, k)"
    model = _of(body, {"w": np.ones((4, 3, 3, 3), np.float32), "k": ints(5000)}, MAP)
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=64)
    (tmp_path / "weights").unlink()
    found = check(path, release("8.5"))
    assert [(f.operator, f.fatal) for f in found] == [("TopK", True)]


def test_a_subgraph_sees_the_constants_around_it(save: Save) -> None:
    body = """y = If(k) <then_branch = t () => (float[] u) { u, i = TopK(x, c) },
        else_branch = e () => (float[] o) { o = Relu(x) }>"""
    model = _of(body, {"c": ints(5)}, f"{MAP}, bool k")
    assert findings(save, model, "8.0") == []
    model = _of(body.replace("(x, c)", "(x, h)"), {}, f"{MAP}, bool k, int64[1] h")
    assert [f.operator for f in findings(save, model, "8.0")] == ["TopK"]


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
    assert (caught.value.hint or "").startswith(
        "TensorRT 8.5 (JetPack 5.1.x) has it; sample outside"
    )
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
