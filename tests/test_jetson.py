"""A user's whole way on a Jetson: the real command line, real ssh, an emulated arm64 machine.

The machine is `jetson.arm64`'s: its TensorRT is the stand-in trtexec, which runs networks in that
machine's onnxruntime. Its times are those of an emulation, on a machine that does other things too:
what is shown is the way, not the numbers, and `--spread` says so.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from command_line import words
from helpers import conv_model
from jetson import standin
from jetson.arm64 import Arm64, arm64
from jetson.board import PACKAGES, Board

from edgecc import job

__all__ = ["arm64"]
pytestmark = pytest.mark.slow
NETWORK = Path(__file__).parents[1] / "examples/fashion_mnist/fashion_mnist.onnx"
NOISE = "1"
"""As a fraction, for runs of some 0.3 s: inside a round they vary by 5 to 10 %, and rounds lie up
to 80 % apart on a machine that is shared. The most that rounds may is twice this."""
LOUD = "1000"
"""For runs shorter than a slice of the scheduler, which wait for whole ones: by some 300 %."""
FEW = ("--rounds", "1", "--seconds", "0.5", "--spread", LOUD, "--no-energy", "--no-profile")
ENGINES = "root/.cache/edgecc/engines"


@dataclass(frozen=True)
class User:
    """Somebody at a prompt, in a folder with a devices.toml that names the board `jetson`."""

    home: Path
    machine: Arm64

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_CACHE_HOME": str(self.home / "cache"), "COLUMNS": "120"}

    def edgecc(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type a command; it ends with `code`, and never with a traceback."""
        line = [sys.executable, "-m", "edgecc", *map(str, arguments)]
        done = subprocess.run(
            line,
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def refused(self, *arguments: object, code: int) -> str:
        """Type a command that ends with an error; return what it says in one line."""
        before = self.machine.board.settings()
        said = words(self.edgecc(*arguments, code=code).stderr)
        assert self.machine.board.settings() == before
        assert self.machine.board.leftovers() == []
        return said

    def on_board(self, command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type a command on the board, over plain ssh."""
        machine = self.machine
        line = ["ssh", "-F", str(machine.config), "-p", f"{machine.port}", "root@127.0.0.1"]
        done = subprocess.run(
            [*line, command], capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def copy(self, source: str, target: str) -> None:
        """Copy with scp; what is on the board begins with `root@127.0.0.1:`."""
        line = ["scp", "-q", "-r", "-F", str(self.machine.config), "-P", f"{self.machine.port}"]
        subprocess.run([*line, source, target], cwd=self.home, check=True, timeout=300)


@pytest.fixture
def user(arm64: Arm64, tmp_path: Path) -> User:
    """With an empty cache here, and a board as it comes: no engines, TensorRT 8.5.2."""
    (tmp_path / "devices.toml").write_text(
        f'[jetson]\nurl = "{arm64.url}"\ntarget = "xavier"\nssh_config = "{arm64.config}"\n'
    )
    Board.make(arm64.board.root)
    board_has(arm64, "8.5.2")
    shutil.rmtree(arm64.root / ENGINES, ignore_errors=True)
    return User(tmp_path, arm64)


def board_has(machine: Arm64, version: str, **fail: Any) -> None:
    """Give the board another TensorRT, or another behaviour."""
    standin.install(machine.board.root, version, python="/usr/bin/python3", fail=fail)
    packages = {**PACKAGES["5.1"], "libnvinfer8": f"{version}-1+cuda11.4"}
    machine.board.write(
        "var/lib/dpkg/status",
        "\n".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: {its}\n"
            for name, its in packages.items()
        ),
    )


def small(folder: Path, target: str = "xavier", **options: Any) -> Path:
    """A bundle of one convolution, at opset 17."""
    onnx.save(conv_model(8, 8, (3, 3)), folder / "small.onnx")
    made = job.build(folder / "small.onnx", target, passes="", out=folder / "small", **options)
    return made.folder


def trace_of(folder: Path) -> Path:
    """The newest trace of a bundle."""
    return max((folder / "trace").glob("*/record.jsonl")).parent


def events(trace: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (trace / "record.jsonl").read_text().splitlines()]


def test_from_a_model_to_measured_prices(user: User) -> None:
    board, bundle = user.machine.board, user.home / "B"
    for chip in (board.root / "sys/bus/i2c/drivers/ina3221").glob("*"):
        shutil.rmtree(chip)  # tegrastats is what is left
    before = board.settings()
    user.edgecc(
        "build", NETWORK, "--target", "xavier", "--passes", "basis(energy=0.9)", "--out", "B"
    )
    doctor = user.edgecc("doctor", "--device", "jetson")
    assert "nothing is missing" in doctor.stdout
    times = ("--rounds", "3", "--seconds", "1", "--energy-seconds", "2", "--spread", NOISE)
    where = ("--device", "jetson", "--mode", "MAXN")
    first = user.edgecc("bench", "B", *where, "--against", NETWORK, *times)
    print(first.stdout, first.stderr)
    assert board.settings() == before
    assert board.leftovers() == []
    assert board.log()[-4:] == ["nvpmodel 0", "pin", "nvpmodel 2", "restore"]

    trace = trace_of(bundle)
    assert sorted(path.name for path in trace.iterdir()) == [
        "environment.json",
        "measurement.json",
        "raw",
        "record.jsonl",
    ]
    assert len(list((trace / "raw").iterdir())) > 18
    found = json.loads((trace / "measurement.json").read_text())
    assert found["trusted"] is True
    assert found["ratio"]["low"] < found["ratio"]["value"] < found["ratio"]["high"]
    assert found["conditions"]["mode"] == {"id": 0, "name": "MAXN"}
    assert found["conditions"]["pinned"] is True
    for each in found["bundles"].values():
        assert each["runner"] == "trtexec 8.5.2"
        energy = each["energy"]
        assert energy["source"] == "tegrastats"
        assert energy["power_mw"]["GPU"] > energy["idle_mw"]["GPU"] + 5000
        sums = sum(mj for rail, mj in energy["energy_mj"].items() if rail != "total")
        assert energy["energy_mj"]["total"] == pytest.approx(sums, rel=1e-6)
        assert energy["marginal_mj"]["total"] > energy["marginal_uncertainty_mj"]["total"]
    assert {row["kind"] for row in found["layers"]["B"]} == {"operators"}
    assert Path(found["prices"]).is_file()

    again = user.edgecc("bench", "B", *where, *FEW, "--json")
    told = json.loads(again.stdout)
    assert told["trusted"] is True
    assert [e["event"] for e in events(user.home / told["folder"])].count(
        "build"
    ) == 0  # it is kept
    compared = user.edgecc("compare", trace, told["folder"])
    print(compared.stdout, compared.stderr)
    assert "trtexec" not in compared.stderr

    plan = ("--latency", "0.8", "--calib", "synthetic", "--image-scale", "0.00392156862745098")
    planned = user.edgecc("build", NETWORK, "--target", "xavier", *plan, "--out", "P")
    assert "measured on xavier with tensorrt" in words(planned.stdout)


def test_by_hand_on_the_board(user: User) -> None:
    small(user.home)
    user.copy("small", "root@127.0.0.1:by-hand")
    given = {
        "bundles": {"A": "/root/by-hand"},
        "rounds": 3,
        "settle_s": 0,
        "idle_s": 4,
        "warmup_s": 0.1,
        "latency": {"seconds": 1, "min_samples": 20},
        "sample_interval_ms": 300,
        "energy": {"seconds": 4},
    }
    (user.home / "job.json").write_text(json.dumps(given))
    user.copy("job.json", "root@127.0.0.1:by-hand/job.json")
    before = user.machine.board.settings()
    said = user.on_board("cd by-hand && ./edgecc-device build && ./edgecc-device measure job.json")
    assert "engine: /root/.cache/edgecc/engines/" in said.stderr
    assert user.machine.board.settings() == before
    user.copy("root@127.0.0.1:by-hand/trace/record-*.jsonl", ".")
    (record,) = user.home.glob("record-*.jsonl")
    result = user.edgecc("import", "small", record, "--spread", LOUD)
    assert "mJ a run" in result.stdout
    found = json.loads((trace_of(user.home / "small") / "measurement.json").read_text())
    assert found["bundles"]["A"]["latency"]["rounds"] == 3


def test_a_bundle_for_another_board(user: User) -> None:
    small(user.home, "orin")
    said = user.refused("bench", "small", "--device", "jetson", *FEW, code=4)
    assert "the bundle small is for" in said
    assert "tegra234" in said
    assert "and jetson is Jetson-AGX (tegra194)" in said
    user.copy("small", "root@127.0.0.1:for-orin")
    on_board = user.on_board("for-orin/edgecc-device build", code=4)
    assert "for orin (tegra234), and this is" in words(on_board.stderr) or (
        "this bundle is for orin (tegra234)" in words(on_board.stderr)
    )


def test_a_tensorrt_that_is_too_old(user: User) -> None:
    small(user.home)
    board_has(user.machine, "8.2.1")
    said = user.refused("bench", "small", "--device", "jetson", *FEW, code=4)
    assert "TensorRT 8.2.1 reads opset 13 at most, the bundle's model is at 17" in said
    assert "edgecc build --tensorrt 8.2" in said


def test_no_trtexec(user: User) -> None:
    small(user.home)
    (user.machine.board.root / "usr/src/tensorrt/bin/trtexec").unlink()
    said = user.refused("bench", "small", "--device", "jetson", *FEW, code=4)
    assert "its trtexec is not" in said
    assert "sudo apt-get install libnvinfer-bin" in said
    assert "trtexec is not installed" in user.edgecc("doctor", "--device", "jetson").stdout


def test_no_space_for_the_engine(user: User) -> None:
    small(user.home)
    user.on_board(f"mkdir -p /{ENGINES} && mount -t tmpfs -o size=4m tmpfs /{ENGINES}")
    try:
        said = user.refused("bench", "small", "--device", "jetson", *FEW, code=5)
    finally:
        user.on_board(f"umount /{ENGINES}")
    assert "the engine needs about 64 MB" in said
    assert "4 MB are free" in said


def test_each_tensorrt_has_its_own_engine(user: User) -> None:
    small(user.home)
    user.edgecc("bench", "small", "--device", "jetson", *FEW)
    board_has(user.machine, "8.6.1")
    said = user.edgecc("bench", "small", "--device", "jetson", *FEW)
    assert "the bundle's engine is for TensorRT 8.5.2" in words(said.stderr)
    kept = sorted(
        json.loads(path.read_text())["tensorrt"]
        for path in (user.machine.root / ENGINES).glob("*/record.json")
    )
    assert kept == ["8.5.2", "8.6.1"]


def test_out_of_memory_in_the_build(user: User) -> None:
    small(user.home)
    board_has(user.machine, "8.5.2", memory=True)
    said = user.refused("bench", "small", "--device", "jetson", *FEW, code=5)
    assert "out of memory" in said.lower()
    assert not list((user.machine.root / ENGINES).glob("*/model.plan"))


def test_a_layer_without_a_kernel_is_kept_in_fp32(user: User) -> None:
    small(user.home)
    node = {"node": "conv", "precisions": ["fp16"]}
    board_has(user.machine, "8.5.2", implementation=node)
    said = words(user.edgecc("bench", "small", "--device", "jetson", *FEW).stderr)
    assert "an engine took 3 builds: no implementation for conv within 1024 MiB" in said
    assert "no implementation for conv in fp16: kept in fp32" in said


def test_power_that_is_hidden(user: User) -> None:
    machine, home = user.machine, user.machine.root / "home/nvidia"
    small(user.home)
    with (machine.root / "etc/passwd").open("a") as users:
        users.write("nvidia:x:1000:1000::/home/nvidia:/bin/bash\n")
    with (machine.root / "etc/shadow").open("a") as users:
        users.write("nvidia:*:19000:0:99999:7:::\n")
    shutil.copytree(machine.root / "root/.ssh", home / ".ssh")
    subprocess.run(["chown", "-R", "1000:1000", str(home)], check=True)
    machine.board.fail("hidden")
    sensors = machine.board.root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/*/curr*_input")
    for file in sensors:
        file.chmod(0o600)
    toml = (user.home / "devices.toml").read_text()
    (user.home / "devices.toml").write_text(toml.replace("root@", "nvidia@"))
    try:
        doctor = words(user.edgecc("doctor", "--device", "jetson").stdout)
        assert "its power is hidden from this user" in doctor
        assert "sudo chmod a+r /sys/bus/i2c/drivers/ina3221" in doctor
        assert "NOPASSWD" in doctor
        few = [word for word in FEW if word != "--no-energy"]
        said = words(user.edgecc("bench", "small", "--device", "jetson", *few).stderr)
        assert "power is hidden from this user" in said
        assert "pinning clocks takes root" in said
    finally:
        (machine.board.root / "standin/hidden").unlink()


def test_ctrl_c(user: User) -> None:
    small(user.home)
    before = user.machine.board.settings()
    line = [sys.executable, "-m", "edgecc", "bench", "small", "--device", "jetson"]
    line += ["--mode", "MAXN", "--rounds", "3", "--seconds", "60"]
    with subprocess.Popen(
        line,
        cwd=user.home,
        env=user.environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as at a prompt
    ) as running:
        ends = time.monotonic() + 240
        while time.monotonic() < ends and running.poll() is None:
            records = (user.home / "small/trace").glob("*/record.jsonl")
            if any('"idle"' in path.read_text() for path in records):
                break
            time.sleep(0.2)
        assert user.machine.board.is_pinned
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    trace = trace_of(user.home / "small")
    assert f"what was recorded so far: {trace.relative_to(user.home)}" in words(said)
    last = events(trace)[-1]
    assert (last["event"], last["restored"]) == ("end", True)
    assert user.machine.board.settings() == before
    assert user.machine.board.leftovers() == []


@pytest.mark.parametrize("options", [{"precision": "int8", "calib": "synthetic"}, {"dla": 0}])
def test_int8_and_dla(user: User, options: dict[str, Any]) -> None:
    small(user.home, **options)
    result = user.edgecc("bench", "small", "--device", "jetson", *FEW, "--json")
    found = json.loads(result.stdout)
    assert found["bundles"]["A"]["latency"]["samples"] >= 50
    (build,) = [e for e in events(user.home / found["folder"]) if e["event"] == "build"]
    wanted = "--int8" if "precision" in options else "--useDLACore=0"
    assert wanted in build["argv"]
