"""The power sensors in sysfs: INA3221 as JetPack 4 and as 5 and later show it, and RAPL.

JetPack 4 (driver ina3221x, IIO): channels 0 to 2, rail_name_N, in_voltageN_input (mV) and
in_currentN_input (mA). Later (ina3221, hwmon): channels 1 to 3, inN_label, inN_input, currN_input;
channel 7 is a sum of shunt voltages, and a label NC is not connected.
"""

import os

from edgecc.device.agent import sysroot

HWMON = "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
IIO = "/sys/bus/i2c/drivers/ina3221x/*/iio:device*"
RAPL = "/sys/class/powercap/intel-rapl:*"
SHOW_POWER = {
    "hwmon": "sudo chmod a+r /sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/{in,curr}*_input",
    "iio": "sudo chmod a+r /sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_{voltage,current}*_input",
    "rapl": "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",
}


class Channel:
    """One rail: where its voltage and current are."""

    def __init__(self, form, label, folder, volts, amps):
        self.form, self.label, self.folder = form, label, folder
        self.volts, self.amps = os.path.join(folder, volts), os.path.join(folder, amps)

    @property
    def readable(self):
        """Whether both can be read now."""
        return sysroot.is_readable(self.volts) and sysroot.is_readable(self.amps)

    def to_json(self):
        """Return it as identify tells it."""
        return {
            "label": self.label,
            "dir": self.folder,
            "form": self.form,
            "readable": self.readable,
            "update_interval_ms": sysroot.number(os.path.join(self.folder, "update_interval")),
            "samples": sysroot.number(os.path.join(self.folder, "samples")),
        }


def channels():
    """Return the rails that are connected, in the order of the chips."""
    found = []
    for folder in sysroot.places(HWMON):
        for n in (1, 2, 3):
            label = sysroot.read(os.path.join(folder, "in{}_label".format(n)))
            if label and label != "NC":
                names = ("in{}_input".format(n), "curr{}_input".format(n))
                found.append(Channel("hwmon", label, folder, *names))
    for folder in sysroot.places(IIO):
        for n in (0, 1, 2):
            label = sysroot.read(os.path.join(folder, "rail_name_{}".format(n)))
            if label and label != "NC":
                names = ("in_voltage{}_input".format(n), "in_current{}_input".format(n))
                found.append(Channel("iio", label, folder, *names))
    return found


def sample(readable):
    """Return millivolts and milliamperes of channels by label; what cannot be read is left out."""
    found = {}
    for channel in readable:
        mv, ma = sysroot.number(channel.volts), sysroot.number(channel.amps)
        if mv is not None and ma is not None:
            found[channel.label] = {"mv": mv, "ma": ma}
    return found


def domains():
    """Return RAPL's domains: name (package-0, package-0/core), path and range of the counter."""
    found, names = [], {}
    for folder in sysroot.places(RAPL):
        name = sysroot.read(os.path.join(folder, "name"))
        if not name:
            continue
        number = os.path.basename(folder)  # intel-rapl:0, and its part intel-rapl:0:1
        parent = names.get(number.rpartition(":")[0])
        names[number] = parent + "/" + name if parent else name
        path = os.path.join(folder, "energy_uj")
        found.append(
            {
                "name": names[number],
                "path": path,
                "readable": sysroot.is_readable(path),
                "max_uj": sysroot.number(os.path.join(folder, "max_energy_range_uj")),
            }
        )
    return found


def energy(readable):
    """Return the counters in microjoules by name."""
    found = {domain["name"]: sysroot.number(domain["path"]) for domain in readable}
    return {name: uj for name, uj in found.items() if uj is not None}
