"""How the device stands now: everything that is recorded, pinned and put back."""

import os
import re
import time

from edgecc.device.agent import identify, modes, sysroot

GPU = ("*.gv11b", "*.ga10b", "*.gp10b", "*.gpu", "gpu-gpc-0")
CPUFREQ = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
COOLERS = ("fan",)  # cooling devices that take nothing from the speed


def state():
    """Return the state as one dictionary; what the device does not tell is None."""
    return {
        "boot_id": identify.boot_id(),
        "time_unix_s": time.time(),
        "mode": modes.current(),
        "cpus": cpus(),
        "gpu": gpu(),
        "emc": emc(),
        "fan": fan(),
        "temps_c": temps_c(),
        "throttle": throttle(),
        "load1": load1(),
        "memory_free_mb": memory_free_mb(),
    }


def cpus():
    """Return governor and clocks of every processor."""
    found = []
    for folder in sysroot.places("/sys/devices/system/cpu/cpu[0-9]*"):
        clocks = os.path.join(folder, "cpufreq")
        found.append(
            {
                "cpu": int(re.search(r"(\d+)$", folder).group()),
                "online": sysroot.number(os.path.join(folder, "online")) != 0,
                "governor": sysroot.read(os.path.join(clocks, "scaling_governor")),
                "min_khz": sysroot.number(os.path.join(clocks, "scaling_min_freq")),
                "max_khz": sysroot.number(os.path.join(clocks, "scaling_max_freq")),
                "cur_khz": sysroot.number(os.path.join(clocks, "scaling_cur_freq")),
            }
        )
    return sorted(found, key=lambda each: each["cpu"])


def gpu_folder():
    """Return the GPU's folder of clocks, or None."""
    for name in GPU:
        for folder in sysroot.places("/sys/class/devfreq/" + name):
            return folder
    return None


def gpu():
    """Return the GPU's clocks and load (0 to 1), or None."""
    folder = gpu_folder()
    if folder is None:
        return None
    loads = [sysroot.number(path) for path in sysroot.places("/sys/devices/gpu.0/load")]
    loads += [sysroot.number(path) for path in sysroot.places("/sys/devices/platform/gpu.0/load")]
    load = next((each for each in loads if each is not None), None)
    return {
        "min_hz": sysroot.number(os.path.join(folder, "min_freq")),
        "max_hz": sysroot.number(os.path.join(folder, "max_freq")),
        "cur_hz": sysroot.number(os.path.join(folder, "cur_freq")),
        "governor": sysroot.read(os.path.join(folder, "governor")),
        "load": None if load is None else load / 1000.0,
    }


def emc():
    """Return the memory's clock, which only root reads, or None."""
    folder = sysroot.place("/sys/kernel/debug/bpmp/debug/clk/emc")
    rate = sysroot.number(os.path.join(folder, "rate"))
    if rate is None:
        return None
    return {
        "cur_hz": rate,
        "min_hz": sysroot.number(os.path.join(folder, "min_rate")),
        "max_hz": sysroot.number(os.path.join(folder, "max_rate")),
        "override": sysroot.number(os.path.join(folder, "mrq_rate_locked")),
    }


def fan():
    """Return what drives the fan (0 to 255), or None."""
    places = sysroot.places("/sys/devices/pwm-fan/target_pwm")
    places += sysroot.places("/sys/devices/platform/pwm-fan/hwmon/hwmon*/pwm1")
    return sysroot.number(places[0]) if places else None


def temps_c():
    """Return every thermal zone by its name; what is switched off is left out."""
    found = {}
    for folder in sysroot.places("/sys/class/thermal/thermal_zone*"):
        name = sysroot.read(os.path.join(folder, "type"))
        milli = sysroot.number(os.path.join(folder, "temp"))
        if name and milli is not None and milli > -200000:
            found[name.replace("-therm", "").replace("-thermal", "")] = milli / 1000.0
    return found


def throttle():
    """Return what counts, or says, that something is slowed down; more later means that it was.

    Over-current events and cooling devices of a Jetson, the firmware's word of a Raspberry Pi, and
    the counters of an x86 core.
    """
    found = {}
    for path in sysroot.places("/sys/class/hwmon/hwmon*/oc*_event_cnt"):
        found[os.path.basename(path)] = sysroot.number(path)
    for folder in sysroot.places("/sys/class/thermal/cooling_device*"):
        name = sysroot.read(os.path.join(folder, "type")) or ""
        if not name or any(word in name for word in COOLERS) or name == "Processor":
            continue
        key = "{} {}".format(os.path.basename(folder), name)
        found[key] = sysroot.number(os.path.join(folder, "cur_state"))
    for path in sysroot.places("/sys/devices/platform/soc/soc:firmware/get_throttled"):
        text = sysroot.read(path)
        try:
            found["get_throttled"] = int(text or "", 16)
        except ValueError:
            continue
    counters = sysroot.places("/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
    if counters:
        found["core_throttle_count"] = sum(sysroot.number(path) or 0 for path in counters)
    return {name: value for name, value in found.items() if value is not None}


def load1():
    """Return the mean number of running processes of the last minute."""
    try:
        return float((sysroot.read(sysroot.place("/proc/loadavg")) or "").split()[0])
    except (IndexError, ValueError):
        return None


def memory_free_mb():
    """Return the memory that a new program can have."""
    text = sysroot.read(sysroot.place("/proc/meminfo")) or ""
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(found.group(1)) // 1024 if found else None
