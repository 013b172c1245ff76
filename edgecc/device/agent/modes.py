"""The power mode of a Jetson: asked for, set, and never at the price of a reboot."""

import re

from edgecc.device.agent import sysroot

REBOOT = re.compile(r"reboot", re.I)
NAME = re.compile(r"NV Power Mode:[ \t]*(\S+)")


def current():
    """Return the mode as {"id", "name"}, or None where there is no nvpmodel or it says none.

    JetPack 4 prints `NV Power Mode: MAXN` and the number below; 5 has the fan's mode above. Where
    it answers root alone, the file that it keeps the mode in does: `pmode:0002 fmode:quiet`.
    """
    tool = sysroot.tool("nvpmodel")
    if tool is None:
        return None
    code, text = sysroot.ask([tool, "-q"])
    name = NAME.search(text) if code == 0 else None
    number = re.search(r"^\s*(\d+)\s*$", text[name.end() :], re.M) if name else None
    if number is None:
        kept = sysroot.read(sysroot.place("/var/lib/nvpmodel/status")) or ""
        number = re.search(r"pmode:(\d+)", kept)
        if number is None:
            return None
        return {"id": int(number.group(1)), "name": known().get(int(number.group(1)))}
    return {"id": int(number.group(1)), "name": name.group(1)}


def known():
    """Return the modes that the device lists, by number; empty where it does not tell."""
    tool = sysroot.tool("nvpmodel")
    code, text = sysroot.ask([tool, "-p", "--verbose"]) if tool else (None, "")
    if code != 0:
        text = sysroot.read(sysroot.place("/etc/nvpmodel.conf")) or ""
    found = re.findall(r"POWER_MODEL:?\s+ID=(\d+)\s+NAME=([^\s>]+)", text)
    return {int(number): name for number, name in found}


def change(mode, privilege):
    """Put the device into a mode; return None, or why it is not in it.

    nvpmodel asks whether to reboot where that is needed: it has no answer from here, so the mode
    stays, and the reason says so.
    """
    now = current()
    if now is None:
        return "this device has no power modes (nvpmodel -q tells none)"
    if now["id"] == mode:
        return None
    listed = known()
    if listed and mode not in listed:
        names = ", ".join("{} {}".format(*each) for each in sorted(listed.items()))
        return "there is no power mode {}; there are {}".format(mode, names)
    if not privilege.can:
        return "setting a power mode takes root, or a sudo without password"
    code, text = privilege.ask([sysroot.tool("nvpmodel"), "-m", str(mode)])
    after = current()
    if after is not None and after["id"] == mode and not REBOOT.search(text):
        return None
    if REBOOT.search(text):
        return "power mode {} takes a reboot, which is not done from here".format(mode)
    return "nvpmodel -m {} failed: {}".format(mode, " ".join(text.split())[-200:] or code)
