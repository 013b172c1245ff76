"""Networks of which TVM cannot take all: in segments, on this machine and for another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import edgecc as command
from onnx import numpy_helper
from tvm_networks import HOST, build, by_onnxruntime, error, given, normal

import edgecc
from edgecc import job
from edgecc.errors import BuildError, UsageError
from edgecc.target import Artifact, TensorSpec, this_arch
from edgecc.verify import verify_bundle
from targets.tvm import TvmBackend, compile, fallback
from targets.tvm.device_runtime import LIBRARIES, copy_runtime
from targets.tvm.refusal import NotInTvmError

OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[this_arch()]


def network(middle: str, *, weights: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """A convolution, what `middle` makes of m out of "a", a convolution and a classifier."""
    text = f"""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        net (float[1,3,16,16] x) => (float[1,5] y) {{
            [first] c = Conv <pads = [1,1,1,1]> (x, w0)
            [relu] a = Relu (c)
            {middle}
            [last] d = Conv <pads = [1,1,1,1]> (m, w1)
            [pool] p = GlobalAveragePool (d)
            [flat] f = Flatten (p)
            [fc] y = Gemm <transB = 1> (f, w2)
        }}"""
    model = onnx.parser.parse_model(text)
    arrays = {"w0": normal(8, 3, 3, 3), "w1": normal(8, 8, 3, 3), "w2": normal(5, 8)}
    for name, array in {**arrays, **(weights or {})}.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


CASES: dict[str, tuple[str, dict[str, np.ndarray], str]] = {
    "an operator of ONNX": (
        "[lp] m = LpNormalization <axis = 1> (a)", {}, "'lp': TVM has no operator LpNormalization",
    ),
    "FusedConv of onnxruntime": (
        '[fused] m = com.microsoft.FusedConv <activation = "Relu", pads = [1,1,1,1]> (a, wf, bf)',
        {"wf": normal(8, 8, 3, 3), "bf": normal(8)},
        "'fused': TVM has no operator com.microsoft.FusedConv",
    ),
    "BiasGelu of onnxruntime": (
        "[gelu] m = com.microsoft.BiasGelu (a, bg)", {"bg": normal(16)},
        "'gelu': TVM has no operator com.microsoft.BiasGelu",
    ),
    "a size that the input decides": (
        "[k] k = NonZero (a)  [kf] f1 = Cast <to = 1> (k)  [lp] n = LpNormalization <axis = 1> (f1)"
        " [sum] s = ReduceSum <keepdims = 0> (n)  [m] m = Add (a, s)", {},
        "'lp': TVM has no operator LpNormalization",
    ),
    "a subgraph": (
        "[sum] s = ReduceSum <keepdims = 0> (a)  [b] b = Cast <to = 9> (s)  [if] m = If (b)"
        " <then_branch = yes () => (float[1,8,16,16] t) { t = Neg (a) },"
        "  else_branch = no () => (float[1,8,16,16] e) { e = Exp (c) }>", {},
        "'if': TVM has no operator If",
    ),
    "a pool that also returns where": (
        "[pool2] q, i = MaxPool <kernel_shape = [2,2]> (a)  [j] j = Cast <to = 1> (i)"
        " [scale] j2 = Mul (j, small)  [m] m = Add (q, j2)",
        {"small": np.array(1e-3, np.float32)},
        "'pool2': MaxPool 'pool2': TVM gives its first output only, 'i' is used",
    ),
}  # fmt: skip


def with_fallback(model: onnx.ModelProto, folder: Path, target: Any = HOST) -> Artifact:
    return build(model, folder, target, TvmBackend().with_fallback())


@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_onnxruntime(name: str, tmp_path: Path) -> None:
    middle, weights, why = CASES[name]
    model = network(middle, weights=weights)
    artifact = with_fallback(model, tmp_path)
    segments = artifact.details["segments"]
    assert [part["runs_in"] for part in segments] == ["tvm", "onnxruntime", "tvm"]
    assert [part["convolutions"] for part in segments[::2]] == [1, 1]
    assert any(why in note for note in artifact.details["notes"])
    (wanted,) = by_onnxruntime(model, given(model))
    with TvmBackend().open(tmp_path, artifact) as session:
        assert session.inputs == (TensorSpec("x", "float32", (1, 3, 16, 16)),)
        assert session.outputs == (TensorSpec("y", "float32", (1, 5)),)
        assert error(wanted, session.run(given(model))["y"]) < 1e-5
        with pytest.raises(UsageError, match="input 'x' is given as float32 1x3x16"):
            session.run({"x": normal(1, 3, 16)})
    with pytest.raises(UsageError, match="closed"):
        session.run(given(model))


def test_without_it_the_operators_are_named_with_the_hint(tmp_path: Path) -> None:
    middle = CASES["FusedConv of onnxruntime"]
    with pytest.raises(BuildError, match=r"operator com\.microsoft\.FusedConv \('fused'\)") as why:
        build(network(middle[0], weights=middle[1]), tmp_path)
    assert "--fallback" in (why.value.hint or "")
    assert "--backend onnxruntime" in (why.value.hint or "")


def test_files_and_command_on_the_device(tmp_path: Path) -> None:
    """`run.py` needs numpy and onnxruntime: it finds TVM in the bundle."""
    model = network(CASES["an operator of ONNX"][0])
    artifact = with_fallback(model, tmp_path / "net")
    assert artifact.files == tuple(
        f"tvm/{name}"
        for name in (
            *("0/model.so", "1.onnx", "2/model.so", "compiled.py", *LIBRARIES, "run.py"),
            "segments.json",
        )
    )
    assert artifact.run == "python3 tvm/run.py -i x=../x.npy -o .."
    np.save(tmp_path / "x.npy", given(model)["x"])
    without_tvm = "import sys; sys.modules['tvm'] = sys.modules['tvm_ffi'] = None; import runpy;"
    code = (
        f"{without_tvm} sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = [*artifact.run.split()[1:], "--repeat", "3", "--threads", "1"]
    words += ["--for", "0.02", "--times", "times.txt"]
    done = on_device(tmp_path / "net", "-c", code, *words)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["end_s"] - report["start_s"] >= 0.02
    times_ms = [float(line) for line in (tmp_path / "net/times.txt").read_text().splitlines()]
    assert len(times_ms) == report["repeat"] >= 3
    assert sum(times_ms) <= 1e3 * (report["end_s"] - report["start_s"]) + 1e-3
    (wanted,) = by_onnxruntime(model, given(model))
    assert error(wanted, np.load(tmp_path / "y.npy")) < 1e-5
    for arguments, message in (
        ([], "the input x is missing: -i x=FILE.npy"),
        (["-i", "z=../x.npy"], "with a NAME of x, not z=../x.npy"),
        (["-i", "x=../y.npy"], "holds float32 (1, 5), the input x takes float32 [1, 3, 16, 16]"),
        (["-i", "x=../no.npy"], "cannot read ../no.npy for the input x"),
    ):
        done = on_device(tmp_path / "net", "tvm/run.py", *arguments)
        assert done.returncode == 2
        assert message in done.stderr


def on_device(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-B", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder / "tvm")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_types_that_pass_between_segments(tmp_path: Path) -> None:
    """In this process, and on the device."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[2,2] x, int64 n) => (float[2,2] y, float[2,2] z, int64[2] k) <float[2,2] w> {
            a = MatMul (x, w)  more = Greater (a, x)  half = Cast <to = 10> (a)
            byte = Cast <to = 2> (more)  wide = Cast <to = 11> (a)  n2 = Add (n, n)
            unit = LpNormalization (a)  off = Not (more)  half2 = Add (half, half)
            wide2 = LpNormalization (wide)  kk = Det (a)  k0 = Cast <to = 7> (kk)  k1 = Add (n2, k0)
            half3 = Where (off, half, half2)  f = Cast <to = 1> (half3)  g = Cast <to = 1> (wide2)
            h = Cast <to = 1> (byte)  fg = Add (f, g)  fgh = Add (fg, h)  y = MatMul (fgh, unit)
            z = Cast <to = 1> (off)  two = Constant <value_ints = [1, 1]> ()  k = Mul (k1, two) }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(normal(2, 2), "w"))
    artifact = with_fallback(model, tmp_path / "net")
    assert len(artifact.details["segments"]) == 3
    inputs = {"x": normal(2, 2), "n": np.array(3)}
    for name, array in inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
    done = on_device(tmp_path / "net", *artifact.run.split()[1:])
    assert (done.returncode, done.stderr) == (0, "")
    with TvmBackend().open(tmp_path / "net", artifact) as session:
        found = session.run(inputs)
    for name, wanted in zip("yzk", by_onnxruntime(model, inputs), strict=True):
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=5e-3)  # some is float16
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), found[name])


def test_what_numpy_has_no_type_for_is_refused(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[2,2] x) => (float[2,2] y)
        <float[2,2] w = {1, 2, 3, 4}> {
            n = LpNormalization (x)  s = SequenceConstruct (n, n)  a = MatMul (n, w)
            b = LpNormalization (a)  t = SequenceInsert (s, b)
            y = ConcatFromSequence <axis = 0> (t)
        }"""
    with pytest.raises(BuildError, match="'s' is no tensor but a sequence, and cannot pass"):
        with_fallback(onnx.parser.parse_model(text), tmp_path)


def test_the_command_line_and_verify(tmp_path: Path) -> None:
    middle = CASES["FusedConv of onnxruntime"]
    onnx.save(network(middle[0], weights=middle[1]), tmp_path / "net.onnx")
    words = ["build", tmp_path / "net.onnx", "--backend", "tvm", "--passes", "", "--out"]
    done = command(*words, tmp_path / "out", "--fallback")
    assert done.exit_code == 0
    for note in (
        "note: the network runs in TVM (2), then onnxruntime (1), then TVM (4)",
        "note: not in TVM: 'fused': TVM has no operator com.microsoft.FusedConv",
        "note: TVM runs 2 of the 3 convolutions",
    ):
        assert note in done.stderr
    found = verify_bundle(tmp_path / "out", against=tmp_path / "net.onnx")
    assert found["lowered"]["max_rel_error"] < 1e-5
    with edgecc.open(tmp_path / "out") as session:
        assert session.run({"x": normal(1, 3, 16, 16)})["y"].shape == (1, 5)
    (tmp_path / "out" / "tvm" / "1.onnx").write_bytes(b"")
    with pytest.raises(edgecc.EdgeccError, match=re.escape("tvm/1.onnx has changed")):
        verify_bundle(tmp_path / "out")


def test_a_backend_without_fallback_says_so(tmp_path: Path) -> None:
    onnx.save(network("[m] m = Relu (a)"), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="the backend onnxruntime has no fallback"):
        job.build(tmp_path / "net.onnx", backend="onnxruntime", fallback=True, passes="")


def test_it_changes_nothing_where_tvm_takes_everything(tmp_path: Path) -> None:
    model = network("[m] m = Sigmoid (a)")
    plain, allowed = build(model, tmp_path / "a"), with_fallback(model, tmp_path / "b")
    assert plain == allowed
    for name in plain.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_no_convolution_in_tvm_is_said_plainly(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[1,3,8,8] x) => (float[1,4,6,6] y) <float[4,3,3,3] w> {
            [c] c = com.microsoft.FusedConv <activation = "Relu"> (x, w)  [e] y = Exp (c) }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(normal(4, 3, 3, 3), "w"))
    artifact = with_fallback(model, tmp_path)
    assert artifact.details["notes"][-1] == (
        "TVM runs nothing of this network: --backend onnxruntime does the same without TVM"
    )
    with TvmBackend().open(tmp_path, artifact) as session:
        (wanted,) = by_onnxruntime(model, given(model))
        np.testing.assert_array_equal(session.run(given(model))["y"], wanted)


@pytest.mark.parametrize(
    ("words", "elsewhere"),
    [(["R.tanh"], ["t"]), (["R.sigmoid", "R.exp"], ["e", "m", "s", "t"])],
)
def test_what_fails_while_it_compiles_is_found_by_halving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], elsewhere: list[str]
) -> None:
    """TVM's errors then name no node; what fails only among others takes all of them along."""
    original = compile.write_library

    def write_library(module: Any, *rest: Any) -> Any:
        if all(word in str(module) for word in words):
            raise NotInTvmError("no reason")
        return original(module, *rest)

    monkeypatch.setattr(compile, "write_library", write_library)
    monkeypatch.setattr(fallback, "write_library", write_library)
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[2,2] y)
        <float[3,2] w = {1, 2, 3, 4, 5, 6}> {
            [s] s = Sigmoid (x)  [t] t = Tanh (s)  [e] e = Exp (t)  [m] y = MatMul (e, w) }"""
    model = onnx.parser.parse_model(text)
    artifact = with_fallback(model, tmp_path)
    assert sorted(artifact.details["refused"]) == elsewhere
    with TvmBackend().open(tmp_path, artifact) as session:
        (wanted,) = by_onnxruntime(model, given(model))
        assert error(wanted, session.run(given(model))["y"]) < 1e-6


def test_same_layout_for_another_architecture(tmp_path: Path) -> None:
    try:
        copy_runtime(OTHER, tmp_path)
    except BuildError as missing:
        pytest.skip(f"no runtime for {OTHER}: {missing.message}")
    model = network(CASES["an operator of ONNX"][0])
    cpu = {"aarch64": "cortex-a72", "x86_64": "x86-64-v3"}[OTHER]
    board = HOST.model_copy(update={"arch": OTHER, "cpu": cpu, "glibc": "2.27"})
    here, there = (
        with_fallback(model, tmp_path / "here"),
        with_fallback(model, tmp_path / "a", board),
    )
    assert (there.files, there.run) == (here.files, here.run)
    assert there.details["segments"] == here.details["segments"]
    header = (tmp_path / "a" / "tvm" / "0" / "model.so").read_bytes()[:20]
    assert header[18] == {"aarch64": 183, "x86_64": 62}[OTHER]
    with pytest.raises(BuildError, match=f"built for {OTHER}"):
        TvmBackend().open(tmp_path / "a", there)


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    model = network(CASES["a subgraph"][0])
    first, second = with_fallback(model, tmp_path / "a"), with_fallback(model, tmp_path / "b")
    assert first == second
    for name in first.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
