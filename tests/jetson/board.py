"""A stand-in Jetson AGX Xavier: the files and programs of one in a folder, its failures on demand.

The programs of `bin/` keep what they do in files, so that a test can see what was pinned and that
it was put back. `EDGECC_SYSROOT` names the folder to the agent; the same files, put into the root
of an emulated arm64 machine, make a Jetson of that.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

BIN = Path(__file__).parent / "bin"
GPU = "sys/class/devfreq/17000000.gv11b"
RELEASE = {
    "4.6": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t186ref, EABI: aarch64, "
    "DATE: Sat Feb 19 17:07:00 UTC 2022\n",
    "5.1": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, "
    "DATE: Tue Aug  1 19:57:35 UTC 2023\n",
}
PACKAGES = {
    "4.6": {"libnvinfer8": "8.2.1-1+cuda10.2", "nvidia-l4t-core": "32.7.1-20220219090432"},
    "5.1": {"libnvinfer8": "8.5.2-1+cuda11.4", "nvidia-l4t-core": "35.4.1-20230801124926"},
}
CHIPS = {"1-0040": ("GPU", "CPU", "SOC"), "1-0041": ("CV", "VDDRQ", "SYS5V")}
READING = {"GPU": 24, "CPU": 24, "SOC": 64, "CV": 0, "VDDRQ": 16, "SYS5V": 344}  # mA, idle
CPUS = 4
Fault = Literal[
    "hidden",
    "nvpmodel-fails",
    "restore-fails",
    "tegrastats-stalls",
    "tegrastats-dies",
    "tegrastats-garbage",
]


@dataclass(frozen=True)
class Board:
    """The stand-in under `root`."""

    root: Path

    @classmethod
    def make(cls, root: Path, jetpack: Literal["4.6", "5.1"] = "5.1") -> Board:
        """Write the board's files: mode MODE_15W, its clocks free. `root` may hold a system."""
        board = cls(root)
        texts: dict[str, Any] = {
            "standin/mode": 2,
            "etc/nv_tegra_release": RELEASE[jetpack],
            "etc/edgecc-machine": "aarch64",
            "etc/nv_boot_control.conf": "TNSPEC 2888-400-0004-M.0-1-2-jetson-xavier-mmcblk0p1\n",
            "proc/device-tree/model": "Jetson-AGX\0",
            "proc/device-tree/compatible": "nvidia,p2972-0000\0nvidia,tegra194\0",
            "proc/sys/kernel/random/boot_id": "5f4c9b0e-0000-4000-8000-000000000001\n",
            "proc/meminfo": "MemTotal:       32692948 kB\nMemAvailable:   30000000 kB\n",
            "proc/loadavg": "0.08 0.12 0.09 1/345 6789\n",
            "proc/cpuinfo": "".join(
                f"processor\t: {cpu}\nCPU implementer\t: 0x4e\nCPU part\t: 0x004\n\n"
                for cpu in range(CPUS)
            ),
            "var/lib/dpkg/status": "\n".join(
                f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"
                for name, version in PACKAGES[jetpack].items()
            ),
            "sys/devices/gpu.0/load": 0,
            f"{GPU}/min_freq": 114750000,
            f"{GPU}/max_freq": 675750000,
            f"{GPU}/cur_freq": 675750000,
            f"{GPU}/governor": "nvhost_podgov",
            "sys/class/thermal/thermal_zone0/type": "GPU-therm",
            "sys/class/thermal/thermal_zone0/temp": 37500,
            "sys/class/thermal/cooling_device0/type": "gpu-balanced",
            "sys/class/thermal/cooling_device0/cur_state": 0,
            "sys/class/hwmon/hwmon1/oc1_event_cnt": 0,
        }
        if jetpack == "5.1":
            texts["standin/jetpack5"] = ""
        for cpu in range(CPUS):
            folder = f"sys/devices/system/cpu/cpu{cpu}"
            texts[f"{folder}/online"] = 1
            texts[f"{folder}/cpufreq/scaling_governor"] = "schedutil"
            texts[f"{folder}/cpufreq/scaling_available_governors"] = "performance schedutil"
            texts[f"{folder}/cpufreq/cpuinfo_max_freq"] = 2265600
            texts[f"{folder}/cpufreq/scaling_min_freq"] = 1190400
            texts[f"{folder}/cpufreq/scaling_max_freq"] = 1200000
            texts[f"{folder}/cpufreq/scaling_cur_freq"] = 1190400
        texts.update(_ina3221(jetpack))
        for path, text in texts.items():
            board.write(path, text)
        for name in ("nvpmodel", "jetson_clocks", "tegrastats"):
            target = root / "usr" / "bin" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(BIN / name, target)
        (root / "var" / "tmp").mkdir(parents=True, exist_ok=True)
        (root / "var" / "tmp").chmod(0o1777)
        return board

    def write(self, path: str, text: object) -> None:
        """Write a file of the system."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}")

    def read(self, path: str) -> str:
        """Return the text of a file of the system."""
        return (self.root / path).read_text().strip()

    def fail(self, fault: Fault) -> None:
        """Let something fail from now on."""
        self.write(f"standin/{fault}", "")

    def settings(self) -> dict[str, str]:
        """Return everything that a session may change and has to put back."""
        files = ["standin/mode", f"{GPU}/min_freq", f"{GPU}/max_freq"]
        for cpu in range(CPUS):
            clocks = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
            files += [f"{clocks}/scaling_{name}" for name in ("governor", "min_freq", "max_freq")]
        return {file: self.read(file) for file in files}

    def log(self) -> list[str]:
        """Return what the programs did: `nvpmodel 0`, `pin`, `restore`."""
        file = self.root / "standin" / "log"
        return file.read_text().split("\n")[:-1] if file.exists() else []

    def leftovers(self) -> list[str]:
        """Return what a session left in /var/tmp, its lock apart."""
        return [p.name for p in (self.root / "var/tmp").iterdir() if p.suffix != ".lock"]

    @property
    def is_pinned(self) -> bool:
        """Whether the GPU has one speed that it may have."""
        return self.read(f"{GPU}/min_freq") == self.read(f"{GPU}/max_freq")


def _ina3221(jetpack: str) -> dict[str, object]:
    """The power sensors: channels 1 to 3 under hwmon, or 0 to 2 under IIO in JetPack 4."""
    texts: dict[str, object] = {}
    for chip, (address, labels) in enumerate(CHIPS.items()):
        for n, label in enumerate(labels):
            volts = 5032 if label == "SYS5V" else 19448
            if jetpack == "5.1":
                folder = f"sys/bus/i2c/drivers/ina3221/{address}/hwmon/hwmon{4 + chip}"
                names = (f"in{n + 1}_label", f"in{n + 1}_input", f"curr{n + 1}_input")
                texts |= {f"{folder}/samples": 512, f"{folder}/update_interval": 430}
            else:
                folder = f"sys/bus/i2c/drivers/ina3221x/{address}/iio:device{chip}"
                names = (f"rail_name_{n}", f"in_voltage{n}_input", f"in_current{n}_input")
            values = (label, volts, READING[label])
            texts |= {f"{folder}/{name}": value for name, value in zip(names, values, strict=True)}
    return texts


def bundle(folder: Path, **changes: Any) -> Path:
    """Write a bundle for the board whose runner is a stand-in too: runs of 2 ms."""
    device = {
        "schema_version": 1,
        "backend": "tvm",
        "target": "xavier-cpu",
        "machine": "aarch64",
        "model": "model.onnx",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 3, 8, 8]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 10]}],
        "run": "tvm/edgecc-run -i x=../x.npy -o ..",
        "board": None,
        **changes,
    }
    (folder / "tvm").mkdir(parents=True)
    (folder / "device.json").write_text(json.dumps(device))
    shutil.copy(BIN / "edgecc-run", folder / "tvm" / "edgecc-run")
    return folder


def job(**changes: Any) -> dict[str, Any]:
    """Return a job that is done within a second."""
    return {
        "schema_version": 1,
        "rounds": 1,
        "settle_s": 0,
        "warmup_s": 0.01,
        "latency": {"seconds": 0.02, "min_samples": 3, "max_samples": 1000},
        "idle_s": 0.05,
        "energy": {"seconds": 0.05},
        "profile": False,
        "sample_interval_ms": 20,
        **changes,
    }
