"""Clocks held at one speed, so that two measurements meet the same device."""

import os
import time

from edgecc.device.agent import journal, state, sysroot

CPU_FILES = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")
GPU_FILES = ("min_freq", "max_freq")
ROOT_HINT = (
    "pinning clocks takes root: clocks float, and times vary with them; "
    "run as root, or allow a sudo without password"
)


def snapshot():
    """Return [path, text] of everything that pinning may change."""
    names = [
        os.path.join(folder, name) for folder in sysroot.places(state.CPUFREQ) for name in CPU_FILES
    ]
    gpu = state.gpu_folder()
    names += [os.path.join(gpu, name) for name in GPU_FILES] if gpu else []
    found = [[name, sysroot.read(name)] for name in names]
    return [each for each in found if each[1]]


def pin(privilege, before):
    """Hold every clock at its highest; return whether they are held, and what there is to note.

    `before` is the snapshot of the clocks before the session changed anything.
    """
    if not privilege.can:
        return False, [ROOT_HINT]
    tool = sysroot.tool("jetson_clocks")
    if not tool and not before:
        return False, ["this device has no clocks that can be pinned"]
    notes = []
    if tool:
        code, text = privilege.ask([tool])
        if code != 0:
            notes.append("jetson_clocks failed: " + " ".join(text.split())[-200:])
            tool = None
    if not tool:
        notes += _pin_by_hand(privilege)
    return not notes and is_pinned(state.state()), notes


def store(kept, privilege, before):
    """Write down, before anything is changed, what the clocks are put back with."""
    tool, stored = sysroot.tool("jetson_clocks"), None
    if tool and privilege.can:
        stored = journal.path("{}.clocks".format(os.getpid()))
        code = privilege.ask([tool, "--store", stored])[0]
        if code != 0 or not os.path.exists(stored):
            stored = None
    kept.undo(files=before, jetson_clocks=stored)


def _pin_by_hand(privilege):
    notes, gpu = [], state.gpu_folder()
    for folder in sysroot.places(state.CPUFREQ):
        top = sysroot.read(os.path.join(folder, "scaling_max_freq"))
        governors = sysroot.read(os.path.join(folder, "scaling_available_governors")) or ""
        if "performance" in governors.split():
            notes.append(privilege.write(os.path.join(folder, "scaling_governor"), "performance"))
        if top:
            notes.append(privilege.write(os.path.join(folder, "scaling_min_freq"), top))
    top = sysroot.read(os.path.join(gpu, "max_freq")) if gpu else None
    if top:
        notes.append(privilege.write(os.path.join(gpu, "min_freq"), top))
    return sorted({"a clock cannot be pinned: " + note for note in notes if note})


def is_pinned(now):
    """Return whether every clock of a state has one speed it may have."""
    gpu = now["gpu"]
    if gpu and gpu["min_hz"] != gpu["max_hz"]:
        return False
    return all(
        cpu["min_khz"] == cpu["max_khz"] or cpu["governor"] == "performance"
        for cpu in now["cpus"]
        if cpu["online"]
    )


def wait_for_gpu(limit_s):
    """Wait until the GPU runs at the speed it is held at; return whether it does."""
    ends = time.monotonic() + limit_s
    while True:
        gpu = state.gpu()
        if gpu is None or gpu["cur_hz"] == gpu["max_hz"]:
            return True
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)


def changes(before, now):
    """Return what of the settings is not as it was, and what was slowed down, as sentences."""
    found = []
    if before["mode"] != now["mode"]:
        found.append("the power mode went from {} to {}".format(before["mode"], now["mode"]))
    for was, got in zip(before["cpus"], now["cpus"]):
        for key in ("online", "governor", "min_khz", "max_khz"):
            if was[key] != got[key]:
                text = "cpu{}: {} went from {} to {}"
                found.append(text.format(was["cpu"], key, was[key], got[key]))
    for key in ("min_hz", "max_hz", "governor"):
        was, got = (before["gpu"] or {}).get(key), (now["gpu"] or {}).get(key)
        if was != got:
            found.append("the GPU's {} went from {} to {}".format(key, was, got))
    for name, value in sorted(now["throttle"].items()):
        was = before["throttle"].get(name, 0)
        if value > was:
            found.append(
                "{} went from {} to {}: the device slowed itself down".format(name, was, value)
            )
    return found


def drift(now):
    """Return how the GPU's clock is off from where it is held, or None."""
    gpu = now["gpu"]
    if not gpu or gpu["min_hz"] != gpu["max_hz"] or gpu["cur_hz"] is None:
        return None
    if abs(gpu["cur_hz"] - gpu["min_hz"]) <= 0.01 * gpu["min_hz"]:
        return None
    text = "the GPU is held at {:.0f} MHz and runs at {:.0f} MHz: it throttles"
    return text.format(gpu["min_hz"] / 1e6, gpu["cur_hz"] / 1e6)
