"""The releases of what is installed, from dpkg's own list and from the files themselves."""

import os
import platform
import re

from edgecc.device.agent import sysroot

WANTED = re.compile(
    r"^(libnv(infer|onnxparsers|parsers)|python3-libnvinfer|tensorrt$|libcudnn|cuda-cudart|"
    r"nvidia-l4t-core$|nvidia-jetpack$|onnxruntime|python3-numpy$)"
)
TRTEXEC = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec")
INFER = re.compile(r"^libnvinfer\d+$")


def installed():
    """Return the version of every installed Debian package by name."""
    text = sysroot.read(sysroot.place("/var/lib/dpkg/status")) or ""
    found = {}
    for entry in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", entry, re.M))
        if fields.get("Status", "").endswith(" installed"):
            found[fields.get("Package", "")] = fields.get("Version", "")
    return found


def wanted(found):
    """Return those packages that decide what an engine is built by."""
    return {name: version for name, version in sorted(found.items()) if WANTED.match(name)}


def tensorrt(found):
    """Return TensorRT's release, 8.5.2, from its package or its header."""
    for name in sorted(found):
        if INFER.match(name):
            return found[name].partition("-")[0]
    for header in sysroot.places("/usr/include/*/NvInferVersion.h"):
        text = sysroot.read(header) or ""
        numbers = re.findall(r"#define NV_TENSORRT_(?:MAJOR|MINOR|PATCH) (\d+)", text)
        if len(numbers) == 3:
            return ".".join(numbers)
    return None


def trtexec():
    """Return where trtexec lies, or None."""
    for path in TRTEXEC:
        if os.access(sysroot.place(path), os.X_OK):
            return sysroot.place(path)
    return sysroot.tool("trtexec")


def cuda(found):
    """Return CUDA's release, 11.4."""
    for name in sorted(found):
        numbers = re.match(r"^cuda-cudart-(\d+)-(\d+)$", name)
        if numbers:
            return ".".join(numbers.groups())
    text = sysroot.read(sysroot.place("/usr/local/cuda/version.txt")) or ""
    told = re.search(r"CUDA Version (\d+\.\d+)", text)
    if told:
        return told.group(1)
    folder = os.path.realpath(sysroot.place("/usr/local/cuda"))
    told = re.search(r"cuda-(\d+\.\d+)$", folder)
    return told.group(1) if told else None


def libc():
    """Return the C library's release, 2.31."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION").split()[-1]
    except (ValueError, OSError, AttributeError):
        return platform.libc_ver()[1] or None
