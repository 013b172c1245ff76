"""Which TensorRT this board has, from its packages or from trtexec's banner."""

import os
import re
import shutil
import subprocess

PLACE = "usr/src/tensorrt/bin/trtexec"
"""Where JetPack puts trtexec, under the root of the file system."""
OPSETS = (((10, 15), 24), ((10, 0), 20), ((8, 4), 17), ((8, 0), 13), ((7, 1), 11))
"""Releases, the newest first, and the newest opset that they read (onnx-tensorrt's documents)."""
_BANNER = re.compile(r"&&&& \w+ TensorRT\.trtexec(?: \[TensorRT v(\d+)\])?")
_PACKAGE = re.compile(
    r"^(?:ii\s+)?(libnvinfer(?:\d+|-bin)|tensorrt)(?::\w+)?\s+(\d+(?:\.\d+)+)", re.M
)


def numbers(version):
    """Return "8.5.2" as (8, 5, 2)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def short(version):
    """Return a version as it is compared: "8.5.2.2-1+cuda11.4" is "8.5.2"."""
    found = re.match(r"\d+(?:\.\d+){0,2}", version or "")
    return found.group(0) if found else None


def decode(digits):
    """Return the version that a banner's number stands for: four digits to 9.x, six from 10.0.

    "8502" is 8.5.2, "100300" is 10.3.0.
    """
    number = int(digits)
    major, minor = (1000, 100) if len(digits) == 4 else (10000, 100)
    return "{}.{}.{}".format(number // major, number % major // minor, number % minor)


def of_banner(text):
    """Return the version in trtexec's banner; None where there is none, as in 7.x."""
    found = _BANNER.search(text)
    return decode(found.group(1)) if found and found.group(1) else None


def of_packages(text):
    """Return the version in the output of `dpkg -l` or `dpkg-query -W`; None without TensorRT."""
    found = dict(_PACKAGE.findall(text))
    for name in sorted(found, key=lambda name: (not name.startswith("libnvinfer"), name)):
        return short(found[name])
    return None


def locate(root="/", environ=os.environ):
    """Return the path of trtexec: where JetPack puts it, else on the PATH; None without one."""
    place = os.path.join(root, PLACE)
    if os.access(place, os.X_OK):
        return place
    return shutil.which("trtexec", path=environ.get("PATH"))


def ask(trtexec, timeout_s=60):
    """Return the version in the banner that `trtexec` prints; None where it tells none (7.x)."""
    try:
        done = subprocess.run(
            [trtexec, "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return of_banner(done.stdout.decode("utf-8", "replace"))


def newest_opset(version):
    """Return the newest opset that `version` reads; None before 7.1."""
    for since, opset in OPSETS:
        if numbers(version) >= since:
            return opset
    return None
