"""The TVM backend on this machine, against onnxruntime; and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgecc.errors import BuildError, UsageError
from edgecc.target import Artifact, Target, TensorSpec, this_arch

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'edgecc[arm]'")
pytest.importorskip("ziglang", reason="Zig is not installed: pip install 'edgecc[arm]'")

from targets.tvm import TvmBackend, toolchain
from targets.tvm.compile import write_library
from targets.tvm.device_runtime import copy_runtime
from targets.tvm.frontend import to_relax
from targets.tvm.signature import Signature

HOST = Target(name="host", title="t", arch="host", backend="tvm", backends=("tvm",), passes="")
Weights = dict[str, np.ndarray]
rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def network(
    opset: int, nodes: list[onnx.NodeProto], weights: Weights, shape: tuple[int, ...]
) -> onnx.ModelProto:
    """x -> the last node's outputs, shapes as onnxruntime computes them."""
    for index, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{index}"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in nodes[-1].output],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    arrays = by_onnxruntime(model, given(model))
    for value, array in zip(list(model.graph.output), arrays, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, array.shape))
    return model


def given(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    values = np.random.default_rng(1)
    return {
        value.name: values.standard_normal(
            [size.dim_value for size in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in model.graph.input
    }


def by_onnxruntime(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(array) for array in session.run(None, inputs)]


def error(wanted: np.ndarray, got: np.ndarray) -> float:
    assert (wanted.shape, wanted.dtype) == (got.shape, got.dtype)
    return float(np.abs(wanted - got).max() / np.abs(wanted).max())


def build(model: onnx.ModelProto, folder: Path, target: Target = HOST) -> Artifact:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return TvmBackend().build(folder / "model.onnx", target, folder)


def classifier() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"], group=4, dilations=[2, 2], pads=[2, 2, 2, 2]),
        node("MaxPool", ["c1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p1"], ["f1"]),
        node("Gemm", ["f1", "w2", "b2"], ["g2"], transB=1, name="fc/Gemm"),
        node("Softmax", ["g2"], ["/fc/prob"], axis=1),
    ]
    weights = {
        "w0": normal(8, 3, 3, 3), "b0": normal(8), "w1": normal(8, 2, 3, 3),
        "w2": normal(5, 8 * 4 * 4), "b2": normal(5),
    }  # fmt: skip
    return network(17, nodes, weights, (1, 3, 16, 16))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    folder = tmp_path_factory.mktemp("bundle")
    return folder, build(classifier(), folder)


def cases() -> dict[str, tuple[Any, ...]]:
    """Opset, operator, further inputs, attributes, shape of x (default 1x4x13x11)."""
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    plain = {"kernel_shape": [3, 3]}
    big = (1, 2, 300, 300)
    scales = {"s": floats(1, 1, 0.5, 1.7)}
    table: dict[str, tuple[Any, ...]] = {
        "Conv grouped, strided, dilated": (
            13, "Conv", {"w": normal(8, 2, 3, 2), "b": normal(8)},
            {"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 2, 0, 1]},
        ),
        "Conv depthwise": (13, "Conv", {"w": normal(4, 1, 3, 3)}, {"group": 4}),
        "Conv auto_pad": (7, "Conv", {"w": normal(6, 4, 3, 3)}, {"auto_pad": "SAME_LOWER"}),
        "Conv 1-d": (11, "Conv", {"w": normal(6, 4, 3)}, {"pads": [1, 1]}, (1, 4, 13)),
        "ConvTranspose": (
            11, "ConvTranspose", {"w": normal(4, 3, 3, 4), "b": normal(6)},
            {"group": 2, "pads": [1, 0, 0, 1], "strides": [2, 3], "output_padding": [1, 2]},
        ),
        "ConvTranspose output_shape": (
            11, "ConvTranspose", {"w": normal(4, 3, 3, 3)},
            {"strides": [2, 2], "output_shape": [26, 22]},
        ),
        "ConvTranspose output_shape SAME_UPPER": (
            11, "ConvTranspose", {"w": normal(4, 3, 3, 3)},
            {"strides": [2, 2], "output_shape": [25, 23], "auto_pad": "SAME_UPPER"},
        ),
        "MaxPool SAME_UPPER": (12, "MaxPool", {}, {**window, "auto_pad": "SAME_UPPER"}),
        "MaxPool SAME_LOWER": (12, "MaxPool", {}, {**window, "auto_pad": "SAME_LOWER"}),
        "MaxPool ceil_mode": (12, "MaxPool", {}, {**window, "ceil_mode": 1, "pads": [1] * 4}),
        "AveragePool counting pads": (
            11, "AveragePool", {},
            {**window, "ceil_mode": 1, "pads": [0, 0, 1, 1], "count_include_pad": 1},
        ),
        "AveragePool SAME_LOWER": (11, "AveragePool", {}, {**plain, "auto_pad": "SAME_LOWER"}),
        "InstanceNormalization": (
            13, "InstanceNormalization", {"s": normal(2), "b": normal(2)}, {"epsilon": 1e-3}, big,
        ),
        "InstanceNormalization opset 18": (
            18, "InstanceNormalization", {"s": normal(4), "b": normal(4)}, {},
        ),
        "BatchNormalization": (
            8, "BatchNormalization",
            {"s": normal(4), "b": normal(4), "m": normal(4), "v": np.abs(normal(4)) + 1}, {},
        ),
        "GroupNormalization": (
            21, "GroupNormalization", {"s": normal(4), "b": normal(4)}, {"num_groups": 2},
        ),
        "Pad reflect, attribute": (
            10, "Pad", {}, {"pads": [0, 0, 2, 1, 0, 0, 1, 3], "mode": "reflect"},
        ),
        "Pad reflect": (13, "Pad", {"p": ints(0, 0, 2, 1, 0, 0, 1, 3)}, {"mode": "reflect"}),
        "Pad negative": (13, "Pad", {"p": ints(0, 0, -2, 1, 0, 0, 1, -3)}, {}),
        "Slice, attributes": (
            9, "Slice", {}, {"starts": [1, -4], "ends": [1000, -1], "axes": [1, 3]},
        ),
        "Slice, attributes, no axes": (9, "Slice", {}, {"starts": [0, 1], "ends": [1, 3]}),
        "Slice backwards": (
            13, "Slice",
            {"s": ints(-1), "e": ints(-(2**62)), "a": ints(2), "t": ints(-1)}, {},
        ),
        "Clip, attributes": (7, "Clip", {}, {"min": 0.0, "max": 0.6}),
        "Dropout": (7, "Dropout", {}, {}),
        "Unsqueeze, attribute": (11, "Unsqueeze", {}, {"axes": [0, 3]}),
        "Softmax before 13": (11, "Softmax", {}, {"axis": 1}),
        "Softmax from 13": (13, "Softmax", {}, {"axis": 1}),
        "Pow of another type": (13, "Pow", {"e": np.array(2, np.int64)}, {}),
        "DepthToSpace CRD": (
            13, "DepthToSpace", {}, {"blocksize": 2, "mode": "CRD"}, (1, 8, 5, 6),
        ),
        "SpaceToDepth": (13, "SpaceToDepth", {}, {"blocksize": 2}, (1, 3, 6, 8)),
        "PRelu": (16, "PRelu", {"s": normal(4, 1, 1)}, {}),
        "LRN": (13, "LRN", {}, {"size": 5, "alpha": 0.1}),
        "Celu, a function of ONNX": (13, "Celu", {}, {"alpha": 2.0}),
        "Tile over odd sizes": (13, "Tile", {"r": ints(1, 6, 4, 1)}, {}, (2, 3, 4, 5)),
        "Upsample opset 7": (7, "Upsample", {}, {"scales": [1.0, 1.0, 2.0, 3.0]}),
        "Upsample opset 9": (9, "Upsample", {"s": floats(1, 1, 2, 2)}, {"mode": "linear"}),
        "Resize opset 10, up": (10, "Resize", {"s": floats(1, 1, 2, 3)}, {"mode": "linear"}),
        "Resize opset 10, down": (10, "Resize", {"s": floats(1, 1, 0.6, 0.6)}, {}),
        "Resize opset 11": (
            11, "Resize", {"r": floats(), **scales},
            {"coordinate_transformation_mode": "asymmetric"},
        ),
        "Resize sizes": (
            13, "Resize", {"": None, " ": None, "z": ints(1, 4, 20, 7)},
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        ),
        "Resize cubic": (
            13, "Resize", {"": None, **scales}, {"mode": "cubic", "exclude_outside": 1},
        ),
        "Resize antialias": (
            18, "Resize", {"": None, "s": floats(1, 1, 0.6, 0.4)},
            {"mode": "linear", "antialias": 1},
        ),
        "Resize axes": (
            18, "Resize", {"": None, " ": None, "z": ints(20, 20)},
            {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger", "mode": "linear"},
        ),
        "Resize to the same size": (13, "Resize", {"": None, "s": floats(1, 1, 1, 1)}, {}),
    }  # fmt: skip
    modes = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    table |= {
        f"Resize {mode} {coordinates}": (
            13, "Resize", {"": None, **scales},
            {"mode": mode, "coordinate_transformation_mode": coordinates},
        )
        for mode in ("nearest", "linear", "cubic")
        for coordinates in modes
    }  # fmt: skip
    return table


CASES = cases()


def case_model(name: str) -> onnx.ModelProto:
    opset, kind, inputs, attributes, *shape = CASES[name]
    weights = {key: array for key, array in inputs.items() if array is not None}
    names = [key.strip() for key in inputs]
    node = helper.make_node(kind, ["x", *names], ["y"], **attributes)
    return network(opset, [node], weights, shape[0] if shape else (1, 4, 13, 11))


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnxruntime(name: str, tmp_path: Path) -> None:
    import tvm
    from tvm.runtime.vm import VirtualMachine

    model = case_model(name)
    before = model.SerializeToString()
    core = tvm.target.Target(toolchain.llvm_target(HOST))
    pipeline = tvm.relax.get_default_pipeline(core)
    module = tvm.relax.transform.DecomposeOpsForInference()(to_relax(model))
    machine = VirtualMachine(tvm.compile(module, core, relax_pipeline=pipeline), tvm.cpu())
    got = machine["main"](tvm.runtime.tensor(given(model)["x"])).numpy()
    (wanted,) = by_onnxruntime(model, given(model))
    assert error(wanted, got) < 2e-5
    assert model.SerializeToString() == before


def test_build_and_open_equal_onnxruntime(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    model = classifier_of(folder)
    with TvmBackend().open(folder, artifact) as session:
        assert session.inputs == (TensorSpec("x", "float32", (1, 3, 16, 16)),)
        assert session.outputs == (TensorSpec("/fc/prob", "float32", (1, 5)),)
        got = session.run(given(model))
        with pytest.raises(UsageError, match="input 'x' is given as float32 1x3x16"):
            session.run({"x": normal(1, 3, 16)})
    assert error(by_onnxruntime(model, given(model))[0], got["/fc/prob"]) < 1e-5
    with pytest.raises(UsageError, match="closed"):
        session.run(given(model))


def classifier_of(folder: Path) -> onnx.ModelProto:
    return onnx.load(folder / "model.onnx")


def test_artifact_names_its_files_and_command(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    names = ("edgecc-run", "libtvm_ffi.so", "libtvm_runtime.so", "model.so", "signature.txt")
    assert artifact.files == tuple(f"tvm/{name}" for name in names)
    assert artifact.run == "tvm/edgecc-run -i x=x.npy -o ."
    assert artifact.machine == this_arch()
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "tvm"}
    assert Artifact.from_json(json.loads(json.dumps(artifact.to_json()))) == artifact


def test_building_twice_gives_the_same_bytes(bundle: tuple[Path, Artifact], tmp_path: Path) -> None:
    folder, artifact = bundle
    code = (
        "import sys, onnx; from pathlib import Path; from edgecc.target import Target;"
        "from targets.tvm import TvmBackend; folder = Path(sys.argv[1]);"
        "TvmBackend().build(folder / 'model.onnx', Target.model_validate_json(sys.argv[2]), folder)"
    )
    onnx.save(classifier_of(folder), tmp_path / "model.onnx")
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), HOST.model_dump_json()],
        cwd=Path(__file__).parents[2],
        check=True,
    )
    for name in artifact.files:
        first, second = (hashlib.sha256((f / name).read_bytes()) for f in (folder, tmp_path))
        assert first.hexdigest() == second.hexdigest(), name


def test_several_inputs_outputs_and_types(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[2,3] a.1, int64[2,3] b) => (float[2,3] sum, int64[2,3] b2, bool[2,3] more) {
            c = Cast <to = 1> (b)
            sum = Add (a.1, c)
            b2 = Add (b, b)
            more = Greater (a.1, c)
        }"""
    model = onnx.parser.parse_model(text.replace("a.1", "a1"))
    artifact = build(model, tmp_path)
    inputs = {"a1": normal(2, 3), "b": np.arange(6).reshape(2, 3)}
    with TvmBackend().open(tmp_path, artifact) as session:
        got = session.run(inputs)
    for spec, wanted in zip(session.outputs, by_onnxruntime(model, inputs), strict=True):
        np.testing.assert_array_equal(got[spec.name], wanted)
    for name, array in inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
    done = run_on_host(tmp_path, "-i", "a1=a1.npy", "-i", "b=b.npy", "-o", "out")
    assert (done.returncode, done.stderr) == (0, "")
    for name, array in got.items():
        np.testing.assert_array_equal(np.load(tmp_path / "out" / f"{name}.npy"), array)


def test_every_unknown_operator_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.acme": 1]>
        g (float[2,3] x) => (float[2,3] y) {
            [one] a = LpNormalization (x)
            [two] b = com.acme.Magic (a)
            [three] y = com.acme.Magic (b)
        }"""
    with pytest.raises(BuildError) as caught:
        build(onnx.parser.parse_model(text), tmp_path)
    assert caught.value.message == (
        "TVM cannot take operators LpNormalization ('one'); com.acme.Magic ('two', 'three')"
    )
    assert "onnxruntime" in (caught.value.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert capfd.readouterr().out == ""


def test_failure_inside_tvm_names_the_node_and_keeps_stdout_clean(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[4,3] x, int64[1] k) => (float[2,3] y, int64[2,3] z) {
            [top] y, z = TopK <axis=0> (x, k)
        }"""
    with pytest.raises(BuildError, match=r"TVM cannot import TopK \('top'\): ValueError: TopK k"):
        build(onnx.parser.parse_model(text), tmp_path)
    assert capfd.readouterr().out == ""


def test_network_that_computes_nothing(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[4,3] x) => (float[4,3] y, float[2] z, float[4,3] x2)
        <float[2] z = {1, 2}> { y = Dropout (x)  x2 = Identity (x) }"""
    artifact = build(onnx.parser.parse_model(text), tmp_path)
    x = normal(4, 3)
    with TvmBackend().open(tmp_path, artifact) as session:
        got = session.run({"x": x})
    np.testing.assert_array_equal(got["y"], x)
    np.testing.assert_array_equal(got["x2"], x)
    np.testing.assert_array_equal(got["z"], [1, 2])
    np.save(tmp_path / "x.npy", x)
    assert run_on_host(tmp_path, "-i", "x=x.npy", "-o", ".").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), x)


def test_gather_stays_inside_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[4,3] x, int64[3] i) => (float[3,3] y) { y = Gather <axis = 0> (x, i) }"""
    artifact = build(onnx.parser.parse_model(text), tmp_path)
    x = normal(4, 3)
    with TvmBackend().open(tmp_path, artifact) as session:
        got = session.run({"x": x, "i": ints(2, -1, 10**9)})["y"]
    np.testing.assert_array_equal(got, x[[2, 3, 3]])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(float[n,3] x) => (float[n,3] y) { y = Relu (x) }", "static shapes only, and x: float32"),
        ("(float[0,3] x) => (float[0,3] y) { y = Relu (x) }", "empty tensor"),
        (
            "(float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i)"
            " { [pool] y, i = MaxPool <kernel_shape=[3,3]> (x) }",
            "MaxPool 'pool': TVM gives its first output only, 'i' is used",
        ),
    ],
)
def test_refused_models(text: str, message: str, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {text}')
    with pytest.raises(BuildError, match=re.escape(message)):
        build(model, tmp_path)


def test_unknown_core_and_old_library_are_refused(tmp_path: Path) -> None:
    for change, message in (
        ({"cpu": "pentium-9"}, "knows no core 'pentium-9'"),
        ({"glibc": "2.17"}, "glibc 2.17; TVM's runtime needs 2.27"),
        ({"glibc": "new"}, "which is no version"),
    ):
        with pytest.raises(BuildError, match=message):
            build(classifier(), tmp_path, HOST.model_copy(update=change))


def test_foreign_artifact_is_refused_with_the_command(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[this_arch()]
    foreign = Artifact.from_json({**artifact.to_json(), "machine": other})
    with pytest.raises(BuildError, match=f"built for {other}") as caught:
        TvmBackend().open(folder, foreign)
    assert artifact.run in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "is damaged: it has"),
        (lambda data: b"not a library" * 10, "no ELF header"),
        (lambda data: data[:18] + b"\x28\x00" + data[20:], "is for ELF machine 40"),
    ],
)
def test_damaged_library_is_refused(
    bundle: tuple[Path, Artifact], tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    folder, artifact = bundle
    (tmp_path / "tvm").mkdir()
    for name in artifact.files:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
        (tmp_path / name).chmod(0o755)
    library = tmp_path / "tvm" / "model.so"
    library.write_bytes(damage(library.read_bytes()))
    with pytest.raises(BuildError, match=message):
        TvmBackend().open(tmp_path, artifact)
    np.save(tmp_path / "x.npy", normal(1, 3, 16, 16))
    done = run_on_host(tmp_path, "-i", "x=x.npy", "-o", ".")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def run_on_host(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "tvm" / "edgecc-run", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_runner_equals_onnxruntime_and_reports_times(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    model = classifier_of(folder)
    np.save(folder / "x.npy", given(model)["x"])
    words = artifact.run.split()[1:]
    done = run_on_host(folder, *words, "--repeat", "4", "--warmup", "0", "--threads", "1")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["repeat"] == 4
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["max_ms"]
    got = np.load(folder / "_fc_prob.npy")
    assert error(by_onnxruntime(model, given(model))[0], got) < 1e-5


def test_runner_helps(bundle: tuple[Path, Artifact]) -> None:
    done = run_on_host(bundle[0], "--help")
    assert done.returncode == 0
    assert "input  x: float32 1x3x16x16" in done.stdout
    assert "output /fc/prob: float32 1x5, written to _fc_prob.npy" in done.stdout


@pytest.fixture(scope="module")
def arrays(bundle: tuple[Path, Artifact]) -> Path:
    folder = bundle[0]
    x = normal(1, 3, 16, 16)
    np.save(folder / "good.npy", x)
    np.save(folder / "double.npy", x.astype(np.float64))
    np.save(folder / "small.npy", x[:, :2])
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    data = (folder / "good.npy").read_bytes()
    (folder / "short.npy").write_bytes(data[:-1])
    (folder / "long.npy").write_bytes(data + b"0")
    (folder / "header.npy").write_bytes(data[:50])
    (folder / "text.npy").write_text("1, 2, 3, 4, 5, 6, 7, 8")
    with (folder / "second.npy").open("wb") as stream:
        np.lib.format.write_array(stream, x, version=(2, 0))
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-i x=double.npy -o .", "type '<f8' given, input 'x' takes '<f4' (float32)"),
        ("-i x=small.npy -o .", "shape 1x2x16x16 given, input 'x' takes 1x3x16x16"),
        ("-i x=fortran.npy -o .", "only C order is read"),
        ("-i x=short.npy -o .", "3071 bytes of numbers, its shape takes 3072"),
        ("-i x=long.npy -o .", "more than 3072 bytes"),
        ("-i x=header.npy -o .", "ends in its header"),
        ("-i x=text.npy -o .", "is not a .npy file"),
        ("-i x=absent.npy -o .", "No such file"),
        ("-i z=good.npy -o .", "no input is named 'z'"),
        ("-i x -o .", "it is written NAME=FILE.npy"),
        ("-o .", "input 'x' is missing"),
        ("-i x=good.npy -i x=good.npy -o .", "given twice"),
        ("-i x=good.npy", "-o FOLDER is missing"),
        ("-i", "-i needs a value"),
        ("-i x=good.npy -o . --repeat many", "--repeat takes a whole number"),
        ("--fast", "there is no option --fast"),
        ("-i x=good.npy -o absent/absent", "cannot make absent/absent"),
    ],
)
def test_runner_says_what_is_wrong_in_one_line(arrays: Path, words: str, message: str) -> None:
    done = run_on_host(arrays, *words.split())
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_runner_reads_npy_version_2(arrays: Path) -> None:
    assert run_on_host(arrays, "-i", "x=second.npy", "-o", "out").returncode == 0


def test_signature_file_names_are_safe_and_differ(tmp_path: Path) -> None:
    specs = tuple(TensorSpec(name, "float32", (2,)) for name in ("a/b", "a_b", "../x", "é =", ""))
    signature = Signature(specs, (TensorSpec("s", "int64", ()),))
    signature.write(tmp_path / "signature.txt")
    assert Signature.read(tmp_path / "signature.txt") == signature
    files = list(signature.files().values())
    assert files == ["a_b.npy", "a_b__2.npy", "_x.npy", "___.npy", "tensor.npy", "s.npy"]


def test_versions_are_the_pinned_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    found = TvmBackend().versions()
    assert list(found) == ["apache-tvm", "apache-tvm-ffi", "ziglang", "llvm"]
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'"apache-tvm=={found["apache-tvm"]}"' in project
    assert f'"apache-tvm-ffi=={found["apache-tvm-ffi"]}"' in project
    monkeypatch.setattr(toolchain, "TVM_FFI", "0.1.99")
    with pytest.raises(BuildError, match=r"needs apache-tvm-ffi 0\.1\.99") as caught:
        TvmBackend().versions()
    assert caught.value.hint == "pip install 'edgecc[arm]'"


def test_no_package_index_is_a_build_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[this_arch()]
    with pytest.raises(BuildError, match=f"cannot fetch TVM's runtime for {other}") as caught:
        copy_runtime(other, tmp_path)
    assert "package index" in (caught.value.hint or "")
    assert list((tmp_path / "edgecc").iterdir()) == []


def test_linker_failure_is_a_build_error(tmp_path: Path) -> None:
    workspace = tmp_path / "objects"
    workspace.mkdir()
    with pytest.raises(BuildError, match="zig cc -target"):
        write_library(to_relax(classifier()), HOST, tmp_path / "no" / "model.so", workspace)
