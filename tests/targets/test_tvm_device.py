"""Real networks on an emulated arm64 machine, over real ssh: the way a user takes to a board."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from jetson.arm64 import make, running
from jetson.sshd import free_port

from edgecc import job, oracle
from edgecc.model import load

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Device:
    """An sshd of another architecture on this machine's loopback."""

    port: str
    options: tuple[str, ...]

    def run(self, command: str) -> str:
        line = ["ssh", *self.options, "-p", self.port, "root@127.0.0.1", command]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def copy(self, source: str, destination: str) -> None:
        line = ["scp", "-q", "-r", *self.options, "-P", self.port, source, destination]
        subprocess.run(line, check=True, timeout=300)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    folder, port = tmp_path_factory.mktemp("arm64"), free_port()
    make(folder, port)
    with running(folder, port):
        files = f"UserKnownHostsFile={folder / 'known_hosts'}"
        options = ("-i", str(folder / "id_edge"), "-o", "BatchMode=yes", "-o", files)
        yield Device(str(port), options)


@pytest.mark.parametrize(
    ("name", "passes", "shapes"),
    [
        ("cifar10/resnet20", "dac(energy=0.9)", None),
        ("restore/srmdnf_x2", "basis(energy=0.9)", {"input": (1, 18, 32, 32)}),
        ("imagenet/squeezenet1.1_fp16", "basis(energy=0.9), dac(energy=0.9)", None),
    ],
)
def test_the_outputs_are_onnxruntimes(
    assets: Path,
    tmp_path: Path,
    device: Device,
    name: str,
    passes: str,
    shapes: dict[str, tuple[int, ...]] | None,
) -> None:
    pytest.importorskip("tvm", reason="needs pip install 'edgecc[arm]'", exc_type=ImportError)
    assert device.run("uname -m").strip() == "aarch64"
    model = assets / "models" / f"{name}.onnx"
    built = job.build(model, "rpi4", passes=passes, shape=shapes, out=tmp_path / "net")
    inputs = oracle.random_inputs(
        load(built.folder / "model.onnx"),
        {n: tuple(s) for n, s in built.report["shapes"]["inputs"].items()},
    )
    (name_in,) = inputs
    np.save(tmp_path / f"{name_in}.npy", inputs[name_in])
    device.copy(str(built.folder), "root@127.0.0.1:net")
    device.copy(str(tmp_path / f"{name_in}.npy"), "root@127.0.0.1:")
    device.run(f"cd net && {built.report['artifact']['run']}; rc=$?; exit $rc")
    expected = oracle.run(built.folder / "model.onnx", inputs)
    for output, array in expected.items():
        device.copy(f"root@127.0.0.1:{output}.npy", str(tmp_path))
        found = np.load(tmp_path / f"{output}.npy").astype(np.float64)
        wanted = array.astype(np.float64)
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    device.run("rm -r net *.npy")
