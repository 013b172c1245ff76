"""The TVM backend on this machine, against onnxruntime; and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tvm_networks import (
    HOST,
    build,
    by_onnxruntime,
    classifier,
    classifier_of,
    error,
    given,
    ints,
    normal,
    run_on_host,
)

from edgecc.errors import BuildError, UsageError
from edgecc.target import Artifact, TensorSpec, this_arch
from targets.tvm import TvmBackend, toolchain
from targets.tvm.device_runtime import copy_runtime
from targets.tvm.signature import Signature


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


def test_artifact_names_its_files_and_command(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    ours = ("edgecc-run", "edgecc.h", "libedgecc.so")
    names = (*ours, "libtvm_ffi.so", "libtvm_runtime.so", "model.so", "signature.txt")
    assert artifact.files == tuple(f"tvm/{name}" for name in names)
    assert artifact.run == "tvm/edgecc-run -i x=../x.npy -o .."
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


def test_old_library_is_refused(tmp_path: Path) -> None:
    for change, message in (
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
