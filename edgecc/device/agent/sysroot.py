"""Reading the system's files: under `/`, or under EDGECC_SYSROOT in a test or a chroot."""

import glob
import os
import shutil
import subprocess

SYSROOT = "EDGECC_SYSROOT"
TOOLS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


def root():
    """Return the folder that stands for `/`."""
    return os.environ.get(SYSROOT) or "/"


def place(path):
    """Return where a system's file lies: `/etc/x` under the root."""
    return os.path.join(root(), path.lstrip("/"))


def places(pattern):
    """Return the files that a pattern of a system's path names, sorted."""
    return sorted(glob.glob(place(pattern)))


def read(path):
    """Return the text of a file without NUL and blanks at its ends; None where it has none."""
    try:
        with open(path, "rb") as stream:
            text = stream.read(1 << 22).decode("utf-8", "replace")
    except OSError:
        return None
    return text.replace("\0", "\n").strip()


def number(path):
    """Return a whole number in a file, or None."""
    try:
        return int(read(path) or "", 0)
    except ValueError:
        return None


def is_readable(path):
    """Return whether a file can be read now: sysfs may deny it only then."""
    return read(path) is not None


def tool(name):
    """Return where a program of the system lies, or None."""
    for folder in TOOLS:
        path = os.path.join(root(), folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return shutil.which(name) if root() == "/" else None


def ask(argv, timeout_s=10):
    """Run a program; return its exit code and what it said, (None, why) where it did not end."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return None, "not done after {} s".format(timeout_s)
    except OSError as error:
        return None, error.strerror
    return done.returncode, done.stdout.decode("utf-8", "replace")
