"""A user's whole way on a Jetson: the real command line, real ssh, an emulated arm64 machine.

The machine is `jetson.arm64`'s: its TensorRT is the stand-in trtexec, which runs networks in that
machine's onnxruntime. Its times are those of an emulation, on a machine that does other things too:
what is shown is the way, not the numbers, and `--spread` says so.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import words
from jetson.arm64 import arm64
from jetson.user import ENGINES, User, board_has, events, small, trace_of, user

__all__ = ["arm64", "user"]
pytestmark = pytest.mark.slow
NETWORK = Path(__file__).parents[1] / "examples/fashion_mnist/fashion_mnist.onnx"
NOISE = "1"
"""As a fraction, for runs of some 0.3 s: inside a round they vary by 5 to 10 %, and rounds lie up
to 80 % apart on a machine that is shared. The most that rounds may is twice this."""
LOUD = "1000"
"""For runs shorter than a slice of the scheduler, which wait for whole ones: by some 300 %."""
FEW = ("--rounds", "1", "--seconds", "0.5", "--spread", LOUD, "--no-energy", "--no-profile")


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
    times = ("--rounds", "3", "--seconds", "1", "--energy-seconds", "5", "--spread", NOISE)
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
