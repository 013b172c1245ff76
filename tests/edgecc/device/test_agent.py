"""What the agent tells of a device: the stand-in Jetson in the forms of JetPack 4 and 5."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jetson.board import GPU, Board, bundle, job

from edgecc.device import pack, shell
from edgecc.device.agent import arrays, clocks, identify, modes, packages, rails, state, tegrastats
from edgecc.device.agent.privilege import Privilege
from edgecc.device.local import Local
from edgecc.device.remote import Remote
from edgecc.errors import DeviceError

RAILS = ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"]
HWMON = "sys/bus/i2c/drivers/ina3221"


def test_it_tells_what_the_device_is(remote: Remote) -> None:
    found = remote.identify()
    assert (found["machine"], found["model"], found["soc"]) == ("aarch64", "Jetson-AGX", "tegra194")
    assert (found["module"], found["l4t"], found["tensorrt"]) == ("p2888-0004", "35.4.1", "8.5.2")
    assert found["packages"]["libnvinfer8"] == "8.5.2-1+cuda11.4"
    assert found["cpus"][3] == {
        "cpu": 3,
        "part": "0x004",
        "implementer": "0x4e",
        "name": None,
        "max_khz": 2265600,
        "online": True,
    }
    sensors = found["sensors"]
    assert (sensors["rails"], sensors["power_readable"]) == (RAILS, True)
    assert [(chip["label"], chip["form"]) for chip in sensors["ina3221"]] == [
        (name, "hwmon") for name in RAILS
    ]
    assert found["disk_free_mb"]["/tmp"] > 0


def test_it_reads_jetpack_4_too(board: Board, tmp_path: Path) -> None:
    shutil.rmtree(board.root)
    Board.make(board.root, "4.6")
    assert identify.l4t({}) == "32.7.1"
    assert packages.tensorrt(packages.installed()) == "8.2.1"
    assert modes.current() == {"id": 2, "name": "MODE_15W"}
    assert [(chip.label, chip.form) for chip in rails.channels()] == [(n, "iio") for n in RAILS]
    assert rails.sample(rails.channels())["SYS5V"] == {"mv": 5032, "ma": 344}


@pytest.mark.parametrize(
    ("file", "text", "name", "value"),
    [
        ("etc/nv_tegra_release", "unheard of", "l4t", "35.4.1"),  # by its package
        ("etc/nv_boot_control.conf", "", "module", None),
        ("proc/device-tree/nvidia,dtsfilename", "/x/tegra194-p2888-0001-a.dts", "module", "p2888-"),
        ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0", "soc", "bcm2711"),
        ("var/lib/dpkg/status", "\xff\n\nPackage:", "tensorrt", None),
    ],
)
def test_it_bears_what_it_does_not_know(
    board: Board, file: str, text: str, name: str, value: str | None
) -> None:
    if "dtsfilename" in file:
        board.write("etc/nv_boot_control.conf", "")
    board.write(file, text)
    found = identify.identify()[name]
    assert found == value or (value and found.startswith(value))


def test_it_bears_a_machine_that_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECC_SYSROOT", str(tmp_path))
    found = identify.identify()
    assert found["sensors"]["power_readable"] is False
    assert found["sensors"]["to_show_power"] is None
    assert (found["cpus"], found["l4t"], found["tensorrt"]) == ([], None, None)
    now = state.state()
    assert (now["mode"], now["gpu"], now["cpus"]) == (None, None, [])
    assert clocks.pin(Privilege(), clocks.snapshot())[0] is False


def test_hidden_power_is_told_with_the_command_that_shows_it(board: Board) -> None:
    board.fail("hidden")
    for file in board.root.glob(f"{HWMON}/*/hwmon/hwmon*/curr*_input"):
        file.unlink()
        file.mkdir()  # which root cannot read either
    sensors = identify.identify()["sensors"]
    assert sensors["power_readable"] is False
    assert sensors["to_show_power"] == (
        "sudo chmod a+r /sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/{in,curr}*_input"
    )
    for file in board.root.glob(f"{HWMON}/*/hwmon/hwmon*/curr*_input"):
        file.rmdir()
        file.write_text("24")
    assert identify.identify()["sensors"]["power_readable"] is True


def test_it_tells_the_state(remote: Remote, board: Board) -> None:
    board.write("sys/devices/gpu.0/load", 730)
    found = remote.state()
    assert found["mode"] == {"id": 2, "name": "MODE_15W"}
    assert (found["gpu"]["min_hz"], found["gpu"]["max_hz"]) == (114750000, 675750000)
    assert found["gpu"]["load"] == 0.73
    assert (found["cpus"][0]["governor"], found["cpus"][0]["max_khz"]) == ("schedutil", 1200000)
    assert found["temps_c"] == {"GPU": 37.5}
    assert found["throttle"] == {"oc1_event_cnt": 0, "cooling_device0 gpu-balanced": 0}


def test_rapl_counters_have_the_names_of_their_domains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECC_SYSROOT", str(tmp_path))
    for number, name in (("0", "package-0"), ("0:0", "core"), ("1", "psys")):
        folder = tmp_path / f"sys/class/powercap/intel-rapl:{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text("123456\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
    found = rails.domains()
    assert [each["name"] for each in found] == ["package-0", "package-0/core", "psys"]
    assert found[0]["max_uj"] == 262143328850
    assert rails.energy(found)["package-0/core"] == 123456
    assert identify.identify()["sensors"]["power_readable"] is True


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("CPU [2%@1190,off] GR3D_FREQ 0%@318 GPU@37.5C GPU 0/0 CPU 311/311", ["GPU", "CPU"]),
        ("RAM 1/2MB CPU [9%@1] GR3D_FREQ 0%@[114] VDD_IN 2763mW/2846mW", ["VDD_IN"]),
        ("CPU [0%@729,off] tj@42.9C/42.9C VDD_CPU_CV 0mW/0mW/0mW", ["VDD_CPU_CV"]),
        ("RAM 1/2MB SWAP 0/1MB (cached 0MB) CPU [3%@345] PLL@50.5C", []),
    ],
)
def test_it_sees_which_rails_a_line_has(line: str, names: list[str]) -> None:
    assert tegrastats.rails(line) == names


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (0, None),
        (2, None),
        (1, "power mode 1 takes a reboot, which is not done from here"),
        (9, "there is no power mode 9; there are 0 MAXN, 1 MODE_10W, 2 MODE_15W, 3 MODE_30W_ALL"),
    ],
)
def test_modes(board: Board, mode: int, why: str | None) -> None:
    class Root(Privilege):
        can = True

    assert modes.change(mode, Root()) == why
    assert board.read("standin/mode") == str(mode if why is None else 2)
    assert not (board.root / "standin/rebooted").exists()


def test_the_mode_is_read_where_nvpmodel_answers_root_alone(board: Board) -> None:
    program = board.root / "usr/bin/nvpmodel"
    text = program.read_text().replace("-q)", "-q) echo 'NVPM ERROR: needs root'; exit 1;;\n-Q)")
    program.write_text(text)
    assert modes.current() is None
    board.write("var/lib/nvpmodel/status", "pmode:0003 fmode:quiet\n")
    assert modes.current() == {"id": 3, "name": "MODE_30W_ALL"}


def test_an_ordinary_user_is_told_what_takes_root(board: Board) -> None:
    class Anyone(Privilege):
        can = False

    assert "takes root" in (modes.change(0, Anyone()) or "")
    pinned, notes = clocks.pin(Anyone(), clocks.snapshot())
    assert (pinned, notes) == (False, [clocks.ROOT_HINT])


def test_clocks_are_pinned_by_hand_where_there_is_no_jetson_clocks(board: Board) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (board.root / "usr/bin/jetson_clocks").unlink()
    assert clocks.pin(Privilege(), clocks.snapshot()) == (True, [])
    assert board.is_pinned
    assert board.settings()["sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"] == "performance"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("standin/mode", 0, "the power mode went from"),
        (f"{GPU}/max_freq", 318750000, "the GPU's max_hz went from 675750000 to 318750000"),
        ("sys/devices/system/cpu/cpu1/online", 0, "cpu1: online went from True to False"),
        ("sys/class/hwmon/hwmon1/oc1_event_cnt", 3, "oc1_event_cnt went from 0 to 3: the device"),
        ("sys/class/thermal/cooling_device0/cur_state", 1, "gpu-balanced went from 0 to 1"),
    ],
)
def test_what_changed_is_seen(board: Board, file: str, text: object, said: str) -> None:
    before = state.state()
    assert clocks.changes(before, state.state()) == []
    board.write(file, text)
    (found,) = clocks.changes(before, state.state())
    assert said in found


def test_wrong_calls_are_usage_errors(tmp_path: Path) -> None:
    pack.write(tmp_path / pack.NAME)
    (tmp_path / "job.json").write_text('{"bundles": {"A": "x"}, "round": 3}')
    for words, said in (
        ([], "the following arguments are required: COMMAND"),
        (["measure", str(tmp_path / "job.json")], "a job has no field round"),
        (["measure", str(tmp_path / "absent")], "is no job"),
    ):
        command = [sys.executable, str(tmp_path / pack.NAME), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def bare() -> Local:
    """This machine, whose Python is looked for as on any other."""
    way = Local()
    way.python = None
    return way


def test_without_python_a_shell_tells(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "FIND_PYTHON", ":")
    remote = Remote(bare())
    found = remote.identify()
    assert (found["python"], found["model"], found["l4t"]) == (None, "Jetson-AGX", "35.4.1")
    assert (found["soc"], len(found["cpus"]), found["cpus"][0]["part"]) == ("tegra194", 4, "0x004")
    with pytest.raises(DeviceError, match=r"has no Python 3\.6 or later") as caught:
        remote.state()
    assert "python3-minimal" in (caught.value.hint or "")


def test_an_answer_that_is_none_is_told(board: Board, remote: Remote) -> None:
    remote.identify()
    assert remote._agent is not None
    Path(remote._agent[1]).write_text("print('welcome')")
    with pytest.raises(DeviceError, match="did not answer in JSON: 'welcome") as caught:
        remote.state()
    assert caught.value.hint == "does its login shell print something?"


def test_the_shell_reads_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECC_SYSROOT", raising=False)
    found = shell.identify(Local())
    assert found["machine"] == os.uname().machine
    assert len(found["cpus"]) >= 1
    assert json.dumps(found)


def test_without_python_a_compiled_runner_is_timed(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "FIND_PYTHON", ":")
    place = bundle(tmp_path / "A")
    arrays.write(str(tmp_path / "x.npy"), "float32", [1, 3, 8, 8])
    given = job(bundles={"A": str(place)}, inputs={"x": str(tmp_path / "x.npy")}, rounds=2)
    events = list(Remote(bare()).measure(given))
    assert [event["event"] for event in events] == [
        *("start", "identity", "note"),
        *("phase", "times") * 2,
        "end",
    ]
    times = [event for event in events if event["event"] == "times"][1]
    assert (times["bundle"], times["round"], times["kind"]) == ("A", 1, "latency")
    assert 2 <= min(times["times_ms"]) < 50
    with pytest.raises(DeviceError, match=r"no Python 3\.6 to make up an input: x"):
        list(Remote(bare()).measure({**given, "inputs": None}))
    place = bundle(tmp_path / "B", run="python3 tvm/run.py")
    with pytest.raises(DeviceError, match="cannot be measured without"):
        list(Remote(bare()).measure({**given, "bundles": {"B": str(place)}}))
