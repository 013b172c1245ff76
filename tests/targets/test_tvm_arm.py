"""The TVM backend for a Raspberry Pi 4, run in QEMU's emulation of its processor."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from c_application import PIPE, compile_application

from edgecc.errors import BuildError
from edgecc.target import Artifact, Target

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'edgecc[arm]'")
pytest.importorskip("ziglang", reason="Zig is not installed: pip install 'edgecc[arm]'")

from targets.tvm import TvmBackend
from targets.tvm.device_runtime import LIBRARIES, cache_folder, copy_runtime

QEMU = shutil.which("qemu-aarch64-static")
SYSTEM = Path("/usr/aarch64-linux-gnu")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        QEMU is None or not (SYSTEM / "lib" / "libstdc++.so.6").exists(),
        reason="no arm64 emulation: apt-get install qemu-user-static libc6-arm64-cross"
        " libstdc++6-arm64-cross libgcc-s1-arm64-cross",
    ),
]
RPI4 = Target(
    name="rpi4",
    title="t",
    arch="aarch64",
    cpu="cortex-a72",
    glibc="2.27",
    backend="tvm",
    backends=("tvm",),
    passes="",
)
# Every kind of correction, and Tile over odd sizes, which LLVM gets wrong on some processors.
MODEL = """<ir_version: 8, opset_import: ["": 13]>
    net (float[1,3,16,16] x) => (float[1,5] prob, float[1,6,32,66] image)
    <float[8,3,3,3] w0, float[8] b0, float[8,1,3,3] w1, float[8,6,3,3] w2, float[6] s, float[6] b,
     float[5,8] w3, int64[4] repeats = {1, 1, 1, 3}, float[4] scales = {1, 1, 1.3, 2},
     int64[1] start = {0}, int64[1] end = {33}, int64[1] axis = {3},
     int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}> {
        c0 = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
        r0 = Relu (c0)
        c1 = Conv <group = 8, dilations = [2, 2], pads = [2, 2, 2, 2]> (r0, w1)
        p1 = MaxPool <kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_LOWER"> (c1)
        g1 = GlobalAveragePool (p1)
        f1 = Flatten (g1)
        g2 = Gemm <transB = 1> (f1, w3)
        prob = Softmax <axis = 1> (g2)
        t1 = ConvTranspose <strides = [3, 1], output_shape = [23, 9]> (p1, w2)
        n1 = InstanceNormalization (t1, s, b)
        d1 = Pad <mode = "reflect"> (n1, pads)
        l1 = Tile (d1, repeats)
        z1 = Slice (l1, start, end, axis)
        image = Resize <mode = "linear"> (z1, , scales)
    }"""


def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(MODEL)
    rng = np.random.default_rng(0)
    for value in model.graph.value_info:  # weights declared without a value
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
        array = rng.standard_normal(sizes).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    return model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    folder = tmp_path_factory.mktemp("bundle")
    onnx.save(network(), folder / "model.onnx")
    try:
        copy_runtime("aarch64", folder)
    except BuildError as error:
        pytest.skip(f"no runtime for aarch64: {error.message}")
    for name in LIBRARIES:
        (folder / name).unlink()
    return folder, TvmBackend().build(folder / "model.onnx", RPI4, folder)


ENVIRONMENT = {**os.environ, "QEMU_CPU": "cortex-a72"}


def emulated(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert QEMU is not None
    return subprocess.run(
        [QEMU, "-L", SYSTEM, folder / "tvm" / "edgecc-run", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_outputs_equal_onnxruntime_on_this_machine(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    np.save(folder.parent / "x.npy", x)
    done = emulated(folder, *artifact.run.split()[1:], "--repeat", "2")
    assert (done.returncode, done.stderr) == (0, "")
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for name, wanted in zip(("prob", "image"), session.run(None, {"x": x}), strict=True):
        got = np.load(folder.parent / f"{name}.npy")
        assert np.abs(got - wanted).max() / np.abs(wanted).max() < 1e-5, name


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_c_application_equals_onnxruntime(
    bundle: tuple[Path, Artifact], tmp_path: Path, threads: str
) -> None:
    folder, program = bundle[0], tmp_path / "application"
    compile_application(PIPE, folder / "tvm", program, "-std=c99", target="aarch64-linux-gnu.2.27")
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert QEMU is not None
    done = subprocess.run(
        [QEMU, "-L", SYSTEM, program, folder / "tvm", threads],
        input=x.tobytes(),
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    wanted = np.concatenate([array.ravel() for array in session.run(None, {"x": x})])
    got = np.frombuffer(done.stdout, np.float32)
    assert np.abs(got - wanted).max() / np.abs(wanted).max() < 1e-5


def test_runner_reports_a_wrong_call(bundle: tuple[Path, Artifact]) -> None:
    done = emulated(bundle[0], "-o", ".")
    assert done.returncode == 2
    assert done.stderr == "edgecc-run: input 'x' is missing: -i 'x=FILE.npy'\n"


def test_nothing_needs_a_newer_glibc_than_the_board_has(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    for name in artifact.files:
        data = (folder / name).read_bytes()
        versions = {word.split(b"\0")[0] for word in data.split(b"GLIBC_2.")[1:]}
        assert all(int(version.split(b".")[0]) <= 27 for version in versions), name


def test_building_twice_gives_the_same_bytes(bundle: tuple[Path, Artifact], tmp_path: Path) -> None:
    folder, artifact = bundle
    shutil.copy(folder / "model.onnx", tmp_path)
    assert TvmBackend().build(tmp_path / "model.onnx", RPI4, tmp_path) == artifact
    for name in artifact.files:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_damaged_cache_is_fetched_again(
    bundle: tuple[Path, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {name: (bundle[0] / "tvm" / name).read_bytes() for name in LIBRARIES}
    cached = {path.name: path.read_bytes() for path in cache_folder().iterdir() if path.is_file()}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder().mkdir()
    for name, data in cached.items():
        (cache_folder() / name).write_bytes(data if name.endswith(".json") else data[:-1])
    copy_runtime("aarch64", tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in wanted} == wanted
    assert {path.name: path.read_bytes() for path in cache_folder().iterdir()} == cached
