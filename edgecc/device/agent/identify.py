"""What this device is: board, processors, releases, and how its power can be read."""

import os
import platform
import re
import socket

from edgecc.device.agent import packages, privilege, rails, sysroot, tegrastats

MODULES = r"p(?:2180|2888|3310|3448|3489|3636|3668|3701|3767|3834)-\d{4}"


def identify():
    """Return what the device is, as one dictionary; what cannot be found is None."""
    compatible = (sysroot.read(sysroot.place("/proc/device-tree/compatible")) or "").split("\n")
    compatible = [name for name in compatible if name]
    installed = packages.installed()
    found = {
        "schema_version": 1,
        "machine": machine(),
        "hostname": socket.gethostname(),
        "model": sysroot.read(sysroot.place("/proc/device-tree/model")),
        "compatible": compatible,
        "soc": soc(compatible),
        "module": module(compatible),
        "l4t": l4t(installed),
        "tensorrt": packages.tensorrt(installed),
        "trtexec": packages.trtexec(),
        "cuda": packages.cuda(installed),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "libc": packages.libc(),
        "cpus": cpus(),
        "memory_mb": memory_mb(),
        "disk_free_mb": disk_free_mb(),
        "root": privilege.is_root(),
        "sudo": privilege.has_sudo(),
        "boot_id": boot_id(),
        "packages": packages.wanted(installed),
    }
    found["sensors"] = sensors()
    return found


def machine():
    """Return the architecture in GCC's spelling; a board file in a test's root may name it."""
    told = sysroot.read(sysroot.place("/etc/edgecc-machine")) if sysroot.root() != "/" else None
    return told or platform.machine()


def soc(compatible):
    """Return the chip, as the last of NVIDIA's names, or the last of all: tegra194."""
    chips = [name.partition(",")[2] for name in compatible if name.startswith("nvidia,tegra")]
    if chips:
        return chips[-1]
    return compatible[-1].partition(",")[2] or None if compatible else None


def module(compatible):
    """Return the module's part number, p2888-0004, from what the boot loader or the tree says."""
    spec = sysroot.read(sysroot.place("/etc/nv_boot_control.conf")) or ""
    found = re.search(r"^TNSPEC[ \t]+(\d{4})-\d+-(\d{4})-", spec, re.M)
    if found:
        return "p{}-{}".format(*found.groups())
    source = sysroot.read(sysroot.place("/proc/device-tree/nvidia,dtsfilename")) or ""
    found = re.search(MODULES, source) or re.search(MODULES, " ".join(compatible))
    return found.group() if found else None


def l4t(installed):
    """Return the release of Jetson Linux, 35.4.1."""
    text = sysroot.read(sysroot.place("/etc/nv_tegra_release")) or ""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    if found:
        return "{}.{}".format(*found.groups())
    return installed.get("nvidia-l4t-core", "").partition("-")[0] or None


def cpus():
    """Return every processor: part and implementer as the kernel tells them, top speed, online."""
    parts = cpu_parts()
    found = []
    for folder in sysroot.places("/sys/devices/system/cpu/cpu[0-9]*"):
        cpu = int(re.search(r"(\d+)$", folder).group())
        part = parts.get(cpu, {})
        online = sysroot.number(os.path.join(folder, "online"))
        found.append(
            {
                "cpu": cpu,
                "part": part.get("CPU part"),
                "implementer": part.get("CPU implementer"),
                "name": part.get("model name"),
                "max_khz": sysroot.number(os.path.join(folder, "cpufreq/cpuinfo_max_freq")),
                "online": online != 0,
            }
        )
    if not found:
        found = [
            {
                "cpu": cpu,
                "part": part.get("CPU part"),
                "implementer": part.get("CPU implementer"),
                "name": part.get("model name"),
                "max_khz": None,
                "online": True,
            }
            for cpu, part in sorted(parts.items())
        ]
    return sorted(found, key=lambda each: each["cpu"])


def cpu_parts():
    """Return /proc/cpuinfo by processor."""
    found, current = {}, {}
    for line in (sysroot.read(sysroot.place("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "processor":
            try:
                current = found.setdefault(int(value), {})
            except ValueError:
                current = {}
        current[key.strip()] = value.strip()
    return found


def memory_mb():
    """Return the memory of the device."""
    text = sysroot.read(sysroot.place("/proc/meminfo")) or ""
    found = re.search(r"MemTotal:\s+(\d+) kB", text)
    return int(found.group(1)) // 1024 if found else None


def disk_free_mb():
    """Return what is free where bundles and engines go."""
    found = {}
    for name in ("/tmp", "~"):
        try:
            status = os.statvfs(os.path.expanduser(name))
        except OSError:
            continue
        found[name] = status.f_bavail * status.f_frsize // 1000000
    return found


def boot_id():
    """Return what differs between two boots."""
    return sysroot.read(sysroot.place("/proc/sys/kernel/random/boot_id"))


def sensors():
    """Return how power can be read, and whether it can be now."""
    chips = [channel.to_json() for channel in rails.channels()]
    counters = rails.domains()
    tool = sysroot.tool("tegrastats")
    printed = tegrastats.rails_printed(tool) if tool else []
    readable = bool(printed) or any(each["readable"] for each in chips + counters)
    hidden = [each["form"] for each in chips if not each["readable"]] if not printed else []
    hidden += ["rapl" for each in counters if not each["readable"]]
    return {
        "tegrastats": tool,
        "power_readable": readable,
        "rails": printed,
        "ina3221": chips,
        "rapl": counters,
        "to_show_power": rails.SHOW_POWER[hidden[0]] if hidden else None,
    }
