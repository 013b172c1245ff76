"""Models that nobody vouches for: a clear error with exit code 3, never anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import conv_model, normal, parse

from edgecc import job, oracle, preview
from edgecc.errors import BuildError, ModelError
from edgecc.model import load
from edgecc.verify import Proofs

Save = Callable[..., Path]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "it has 0 bytes"),
        (b"PK\x03\x04" + b"x" * 50, "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x00" * 100, "it has 100 bytes"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, content: bytes, hint: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is no ONNX model") as caught:
        load(path)
    assert hint in (caught.value.hint or "")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        load(tmp_path)
    with pytest.raises(ModelError, match="is not a file"):
        load(Path("/dev/zero"))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = conv_model(4, 3, (3, 3)).SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            load(path)


def test_flipped_bytes_never_do_worse_than_an_error(tmp_path: Path) -> None:
    whole = bytearray(conv_model(4, 3, (3, 3)).SerializeToString())
    path = tmp_path / "model.onnx"
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(whole)
        for place in random.integers(0, len(broken), 3):
            broken[place] = random.integers(0, 256)
        path.write_bytes(broken)
        refused += is_refused(path)
    assert refused > 50


def is_refused(path: Path) -> bool:
    try:
        preview.inspect(path)
    except ModelError:
        return True
    return False


def test_a_missing_initialiser_is_named(save: Save) -> None:
    model = conv_model(4, 3, (3, 3))
    del model.graph.initializer[0]
    with pytest.raises(ModelError, match="Conv 'conv' reads 'w', which nothing makes"):
        load(save(model))


def test_a_cycle(save: Save) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { a = Add(x, b)  b = Relu(a)  y = Relu(b) }")
    with pytest.raises(ModelError, match=r"reads 'b' before it is made.*cycle"):
        load(save(model))


def test_a_value_made_twice(save: Save) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x)  z = Relu(x) }")
    model.graph.node[1].output[0] = "y"
    with pytest.raises(ModelError, match="make 'y'"):
        load(save(model))


def test_an_output_nobody_makes(save: Save) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    model.graph.output[0].name = "absent"
    with pytest.raises(ModelError, match="no node makes the model's output 'absent'"):
        load(save(model))


def test_operators_that_do_not_exist_are_all_named(save: Save) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { a = Crop(x)  b = Affine(a)  y = Crop(b) }")
    with pytest.raises(ModelError, match=r"opset 17: Affine \(1 nodes\), Crop \(2 nodes\)"):
        load(save(model))
    custom = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    custom.graph.node[0].domain = "my.company"
    custom.opset_import.add(domain="my.company", version=1)
    with pytest.raises(ModelError, match=r"my\.company::Relu"):
        load(save(custom))


def test_opsets_before_seven(save: Save) -> None:
    with pytest.raises(ModelError, match="opset 6; edgecc reads opset 7 and later"):
        load(save(parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }", opset=6)))


@pytest.mark.parametrize(
    "text",
    [
        "g (float[100000,100000,1000] x) => (float[A,B,C] y) { y = Relu(x) }",
        "g (float[1] x) => (float[N] y) { c = ConstantOfShape(huge)  y = Add(c, x) }",
        "g (float[1] x) => (float[N] y) { c = Expand(x, huge)  y = Relu(c) }",
        "g (float[1] x) => (float[N] y) { c = Tile(x, huge)  y = Relu(c) }",
    ],
)
def test_absurd_shapes(save: Save, text: str, tmp_path: Path) -> None:
    path = save(parse(text, {"huge": np.array([10**12])}))
    with pytest.raises(ModelError, match="would take"):
        job.build(path, out=tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx"]


def test_a_negative_size(save: Save, tmp_path: Path) -> None:
    model = conv_model(4, 3, (3, 3))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -5
    with pytest.raises(ModelError, match="input 'x' has a negative size: 1,3,-5,11"):
        job.build(save(model), out=tmp_path / "out")


def test_opsets_that_nobody_knows_yet(save: Save) -> None:
    with pytest.raises(ModelError, match="at opset 99, and the installed onnx knows"):
        load(save(parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }", opset=99)))


def test_inputs_that_are_no_tensors(save: Save) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    kind = model.graph.input[0].type
    inner = onnx.TypeProto()
    inner.CopyFrom(kind)
    kind.optional_type.elem_type.CopyFrom(inner)
    with pytest.raises(ModelError, match=r"is not a tensor of a known rank|is not valid ONNX"):
        load(save(model))


def test_sparse_initialisers_are_refused(save: Save) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Add(x, s) }")
    values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = onnx.numpy_helper.from_array(np.array([2]), "s_indices")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))
    with pytest.raises(ModelError, match="sparse initialisers"):
        load(save(model))


def test_nodes_that_share_a_name(save: Save, tmp_path: Path) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { a = Neg(x)  y = Relu(a) }")
    for node in model.graph.node:
        node.name = "same"
    report = job.build(save(model), out=tmp_path / "out").report
    assert report["verify"]["max_abs_error"] == 0


def test_outputs_that_overflow_are_told() -> None:
    numbers = {"y": np.ones(3, np.float32), "k": np.array([0])}
    proofs = Proofs(Path("model.onnx"), {}, {}, numbers, 1e-3)
    assert proofs.check_rewritten(numbers | {"k": np.array([1])})["k"].to_json() == {
        "max_abs_error": 1.0,
        "max_rel_error": None,
    }
    with pytest.raises(BuildError, match="makes 'y' infinite or NaN"):
        proofs.check_rewritten(numbers | {"y": np.array([1, np.inf, 1], np.float32)})


def test_functions_that_unroll_without_measure(save: Save) -> None:
    lines = ['<ir_version: 8, opset_import: ["" : 17, "f" : 1]>']
    lines.append("g (float[1] x) => (float[1] y) { y = f.f30(x) }")
    for i in range(31):
        body = f"a = f.f{i - 1}(x) y = f.f{i - 1}(a)" if i else "y = Neg(x)"
        head = '<domain: "f", opset_import: ["" : 17, "f" : 1]>'
        lines.append(f"{head} f{i} (x) => (y) {{ {body} }}")
    with pytest.raises(ModelError, match="unroll to"):
        load(save(onnx.parser.parse_model(" ".join(lines))))


def test_strings_are_refused(save: Save, tmp_path: Path) -> None:
    path = save(parse("g (string[2] x) => (string[2] y) { y = Identity(x) }"))
    with pytest.raises(ModelError, match="input 'x' is not a tensor of numbers"):
        job.build(path, out=tmp_path / "out")


def test_control_flow_is_kept_and_computed(save: Save, tmp_path: Path) -> None:
    branch = (
        onnx.parser.parse_graph("then () => (float[1,4,7,7] t) { t = Conv(x, w) }"),
        onnx.parser.parse_graph("other () => (float[1,4,7,7] o) { r = Conv(x, w)  o = Neg(r) }"),
    )
    model = parse(
        "g (float[1,3,9,9] x, bool c) => (float[1,4,7,7] y) { y = Relu(x) }",
        {"w": normal(4, 3, 3, 3)},
    )
    choose = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1])
    model.graph.node[0].CopyFrom(choose)
    report = job.build(save(model), passes="basis(rank=2)", out=tmp_path / "out").report
    inside = "it stands inside the subgraph of an If, Loop or Scan"
    assert [d["refusal"] for d in report["decisions"]] == [inside] * 2
    assert report["uncounted"] == [d["convolution"] for d in report["decisions"]]
    assert report["verify"]["max_rel_error"] < 1e-6
    plan = tmp_path / "out" / "plan.json"
    again = job.build(tmp_path / "model.onnx", plan=plan, out=tmp_path / "again").report
    assert [d["refusal"] for d in again["decisions"]] == [inside] * 2


def test_a_loop_without_an_end_is_ended(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = onnx.parser.parse_graph(
        "body (int64 i, bool go, float[4] v) => (bool more, float[4] w)"
        " { more = Identity(go)  w = Neg(v) }"
    )
    model = parse("g (float[4] x) => (float[4] y) { y = Relu(x) }", {"on": np.array(True)})
    loop = onnx.helper.make_node("Loop", ["", "on", "x"], ["y"], body=body)
    model.graph.node[0].CopyFrom(loop)
    monkeypatch.setattr(oracle, "LIMIT_S", 1.0)
    with pytest.raises(ModelError, match="one inference takes more than 1 s"):
        job.build(save(model), out=tmp_path / "out")


def test_an_output_that_is_no_tensor_is_refused(save: Save, tmp_path: Path) -> None:
    model = parse(
        """g (float[1,3,8,8] x) => (seq(float[1,4,6,6]) y) {
            c = Conv(x, w)  y = SequenceConstruct(c)
        }""",
        {"w": normal(4, 3, 3, 3)},
    )
    with pytest.raises(ModelError, match="the output 'y' is not a tensor"):
        job.build(save(model), out=tmp_path / "out")


def test_no_convolution_is_no_error(save: Save, tmp_path: Path) -> None:
    path = save(
        parse("g (float[2,4] x) => (float[2,3] y) { y = MatMul(x, w) }", {"w": normal(4, 3)})
    )
    report = job.build(path, out=tmp_path / "out").report
    assert report["decisions"] == []
    assert report["macs"] == {"before": 24, "after": 24}
    assert report["verify"]["max_abs_error"] == 0


def test_what_onnxruntime_refuses_is_the_models_fault(save: Save, tmp_path: Path) -> None:
    model = conv_model(4, 3, (3, 3))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    with pytest.raises(ModelError, match="onnxruntime cannot run"):
        job.build(save(model), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
