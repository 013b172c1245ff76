from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from batchnormed import NETWORK
from helpers import conv_model, normal, parse

import edgecc
from edgecc import catalog, job, preview
from edgecc.errors import BuildError, ModelError, UsageError
from edgecc.verify import verify_bundle

Save = Callable[..., Path]


def test_the_record_holds_what_was_promised(save: Save, tmp_path: Path) -> None:
    built = edgecc.build(save(NETWORK), passes="dac(rank=4)", out=tmp_path / "out")
    report = json.loads((built.folder / "report.json").read_text())
    assert report == built.report
    assert report["schema_version"] == 1
    assert report["target"] == "host"
    assert report["macs"]["before"] == 16 * 16 * (16 * 27 + 32 * 144) + 128
    first, second = report["decisions"]
    assert first["family"] == "dac"
    assert first["options"] == {"rank": 4}
    assert first["macs"] == {"before": 256 * 16 * 27, "after": 256 * 4 * 3 * (9 + 16)}
    assert second["macs"] == {"before": 256 * 32 * 144, "after": 256 * 4 * 16 * (9 + 32)}
    saved = sum(d["macs"]["before"] - d["macs"]["after"] for d in report["decisions"])
    assert report["macs"]["after"] == report["macs"]["before"] - saved
    assert report["params"]["before"] == 432 + 4608 + 128 + 2 * 16
    assert report["verify"]["inputs"] == {
        "kind": "random",
        "seed": 0,
        "shapes": {"x": [1, 3, 16, 16]},
    }
    assert report["verify"]["prepared"]["max_rel_error"] < 1e-5
    assert 0 < report["verify"]["max_rel_error"] < 10
    assert report["shapes"]["assumed"] == {"x": "N is 1"}
    folded = next(p for p in report["passes"] if p["pass"] == "fold_batchnorm")
    assert folded["applied"] == [{"node": "BatchNormalization_n", "what": "folded into Conv_a"}]


def test_an_empty_pipeline_rewrites_nothing_but_prepares(save: Save, tmp_path: Path) -> None:
    report = job.build(save(NETWORK), passes="", out=tmp_path / "out").report
    assert [d["refusal"] for d in report["decisions"]] == ["no pass was asked to rewrite it"] * 2
    assert report["macs"]["before"] == report["macs"]["after"]
    assert report["params"]["after"] < report["params"]["before"]
    assert report["verify"]["max_rel_error"] < 1e-5


def test_without_passes_the_targets_own_run(save: Save, tmp_path: Path) -> None:
    report = job.build(save(NETWORK), out=tmp_path / "out").report
    assert report["rewrites"] == catalog.target("host").passes
    assert len(report["decisions"]) == 2


def test_the_users_own_inputs(save: Save, tmp_path: Path) -> None:
    model, file = save(NETWORK), tmp_path / "inputs.npz"
    np.savez(file, x=normal(1, 3, 16, 16))
    report = job.build(model, inputs=file, out=tmp_path / "out").report
    assert report["verify"]["inputs"]["kind"] == "file"
    np.savez(file, x=normal(1, 3, 16, 16).astype(np.float64))
    wide = job.build(model, inputs=file, out=tmp_path / "out").report
    assert wide["verify"] == report["verify"]
    np.savez(file, x=normal(1, 4, 16, 16))
    with pytest.raises(UsageError, match="input 'x' is given as float32 1x4x16x16"):
        job.build(model, inputs=file, out=tmp_path / "out")
    np.savez(file, z=normal(1))
    with pytest.raises(UsageError, match="input 'x' is missing"):
        job.build(model, inputs=file, out=tmp_path / "out")
    np.savez(file, x=np.full((1, 3, 16, 16), np.nan, np.float32))
    with pytest.raises(UsageError, match="not finite"):
        job.build(model, inputs=file, out=tmp_path / "out")
    file.write_text("not numpy")
    with pytest.raises(UsageError, match="cannot read the inputs"):
        job.build(model, inputs=file, out=tmp_path / "out")


def test_shapes_are_fixed_in_what_is_built(save: Save, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = job.build(save(NETWORK), passes="", shape={"x": (5, 3, 16, 16)}, out=out).report
    shapes = {"inputs": {"x": [5, 3, 16, 16]}, "assumed": {}, "fixed": False}
    assert report["shapes"] == shapes
    assert report["macs"]["before"] == 5 * (256 * (16 * 27 + 32 * 144) + 128)
    with edgecc.open(out) as session:
        assert session.inputs[0].shape == (5, 3, 16, 16)
    for words in ("5,3,16,16", ["x:5,3,16,16"]):
        built = edgecc.build(tmp_path / "model.onnx", passes="", shape=words, out=out)
        assert built.report["shapes"] == report["shapes"]
    with edgecc.open(built) as session:
        assert session.inputs[0].shape == (5, 3, 16, 16)


def test_xavier_gets_its_model_and_is_told_what_is_missing(save: Save, tmp_path: Path) -> None:
    built = job.build(save(conv_model(16, 8, (3, 3), opset=20)), "xavier", out=tmp_path / "out")
    assert "./edgecc-device build" in built.report["artifact"]["missing"]
    assert built.report["verify"]["lowered"] is None
    lowered = next(p for p in built.report["passes"] if p["pass"].startswith("lower_opset"))
    assert lowered["applied"][0]["what"] == "opset 20 is now 17"
    with pytest.raises(BuildError, match="is built and run on its board"):
        edgecc.open(built.folder)


def test_xavier_gets_the_form_of_an_operator_that_its_opset_lacks(
    save: Save, tmp_path: Path
) -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Gelu(x) }", opset=20)
    built = job.build(save(model), "xavier", out=tmp_path / "out")
    assert built.report["verify"]["max_abs_error"] < 1e-6
    kinds = {node.op_type for node in onnx.load(built.folder / "model.onnx").graph.node}
    assert "Erf" in kinds
    assert "Gelu" not in kinds


def test_xavier_refuses_an_operator_without_another_form(save: Save, tmp_path: Path) -> None:
    model = parse("g (float[1,4,4] x) => (float[1] y) { y = Det(x) }")
    with pytest.raises(
        BuildError, match=r"xavier runs TensorRT 8\.5, which has no Det \(node 'Det_"
    ):
        job.build(save(model), "xavier", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 17, 20, 22, 25, 26, 27, 28])
def test_every_opset_is_read(save: Save, tmp_path: Path, opset: int) -> None:
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"this onnx knows no opset {opset}")
    model = conv_model(16, 8, (3, 3), opset=opset)
    model.ir_version = onnx.IR_VERSION if opset > 20 else 3
    if opset <= 20:
        for tensor in model.graph.initializer:
            kind = onnx.helper.make_tensor_value_info(tensor.name, 1, tensor.dims)
            model.graph.input.append(kind)
    built = job.build(save(model), passes="dac(rank=9)", out=tmp_path / "out")
    assert built.report["decisions"][0]["family"] == "dac"
    assert built.report["verify"]["max_rel_error"] < 1e-5
    onnxruntime.InferenceSession(built.folder / "model.onnx", providers=["CPUExecutionProvider"])
    verify_bundle(built.folder, against=tmp_path / "model.onnx")


def test_xavier_wants_fixed_sizes(save: Save, tmp_path: Path) -> None:
    model = parse(
        "g (float[N,3,H,W] x) => (float[A,B,C,D] y) { y = Conv(x, w) }", {"w": normal(4, 3, 3, 3)}
    )
    with pytest.raises(ModelError, match="has open sizes"):
        job.build(save(model), "xavier", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "xaver"}, "there is no target named 'xaver'"),
        ({"backend": "tensorrt"}, "there is no backend 'tensorrt' for host"),
        ({"passes": "", "plan": "plan.json"}, "--passes and --plan exclude each other"),
    ],
)
def test_orders_that_cannot_be_followed(
    save: Save, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        job.build(save(NETWORK), out=tmp_path / "out", **options)


def test_explain_says_what_build_does(save: Save, tmp_path: Path) -> None:
    model = save(NETWORK)
    explained = preview.explain(model, passes="basis(energy=0.9)")
    built = job.build(model, passes="basis(energy=0.9)", out=tmp_path / "out").report
    for key in ("decisions", "macs", "params", "model"):
        assert explained[key] == built[key]


def test_inspect_counts_the_prepared_network(save: Save) -> None:
    found = preview.inspect(save(NETWORK))
    assert [c["name"] for c in found["convolutions"]] == ["Conv_a", "Conv_c"]
    assert found["convolutions"][1]["weight"] == [32, 16, 3, 3]
    assert found["operators"]["Conv"] == 2
    assert "BatchNormalization" not in found["operators"]


def test_external_data_of_a_new_model_is_read_and_debugged(tmp_path: Path) -> None:
    model = conv_model(16, 8, (3, 3), opset=20)
    model.ir_version = 11
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    report = job.build(
        tmp_path / "m.onnx", passes="", out=tmp_path / "out", debug_passes=tmp_path / "debug"
    ).report
    assert report["verify"]["max_abs_error"] == 0


def test_sizes_of_one_name_are_one(save: Save, tmp_path: Path) -> None:
    model = parse(
        """g (float[N,3,8,8] a, float[N,4,6,6] b) => (float[A,B,C,D] y) {
            c = Conv(a, w)  y = Add(c, b)
        }""",
        {"w": normal(4, 3, 3, 3)},
    )
    report = job.build(save(model), shape={"a": (4, 3, 8, 8)}, out=tmp_path / "out").report
    assert report["shapes"]["inputs"] == {"a": [4, 3, 8, 8], "b": [4, 4, 6, 6]}


@pytest.mark.parametrize(
    "shape", [{"x": (0, 3, 16, 16)}, {"x": (1, 3, 16, "a")}, ["x:1,3,16,16", "x:2,3,16,16"]]
)
def test_shapes_that_are_none(save: Save, tmp_path: Path, shape: object) -> None:
    with pytest.raises(UsageError):
        job.build(save(NETWORK), shape=shape, out=tmp_path / "out")


def test_an_output_of_classes_that_changes_is_no_crash(save: Save, tmp_path: Path) -> None:
    model = parse(
        "g (float[1,8,9,9] x) => (int64[A,B,C,D] y) { c = Conv(x, w)  y = ArgMax <axis=1> (c) }",
        {"w": normal(16, 8, 3, 3)},
    )
    assert job.build(save(model), passes="basis(rank=1)", out=tmp_path / "out").report["verify"]


def test_names_that_look_like_markup(save: Save) -> None:
    model = conv_model(16, 8, (3, 3))
    model.graph.node[0].name = "block[/b][conv]"
    result = subprocess.run(
        [sys.executable, "-m", "edgecc", "inspect", save(model)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "block[/b][conv]" in result.stdout


def test_names_that_are_taken_already(save: Save, tmp_path: Path) -> None:
    model = parse(
        """g (float[1,8,9,9] x) => (float[A,B,C,D] y) {
            n.conv0.out = Relu(x)  y = Conv(n.conv0.out, w)
        }""".replace("n.conv0.out", "taken"),
        {"w": normal(16, 8, 3, 3)},
    )
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = "n.conv0.out" if name == "taken" else name
    model.graph.node[1].name = "n"
    report = job.build(save(model), passes="basis(rank=16)", out=tmp_path / "out").report
    assert report["verify"]["max_rel_error"] < 1e-5
    assert report["decisions"][0]["nodes"] == ["n.conv1", "n.conv2"]
