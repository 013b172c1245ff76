"""What takes root: done as root, or through a sudo that asks for no password, or not at all."""

import os
import subprocess

from edgecc.device.agent import sysroot


def is_root():
    """Return whether this process is root's."""
    return os.geteuid() == 0


def has_sudo():
    """Return whether sudo runs a command now, without a password."""
    sudo = sysroot.tool("sudo")
    return bool(sudo) and sysroot.ask([sudo, "-n", "true"], 5)[0] == 0


class Privilege:
    """What this session may do; asked for once."""

    def __init__(self):
        self.root = is_root()
        self.sudo = not self.root and has_sudo()

    @property
    def can(self):
        """Whether anything that takes root can be done."""
        return self.root or self.sudo

    def ask(self, argv, timeout_s=20):
        """Run a program as root; return its exit code and what it said."""
        return sysroot.ask(self.words(argv), timeout_s)

    def words(self, argv):
        """Return a command that runs as root."""
        return ["sudo", "-n", *argv] if self.sudo else list(argv)

    def write(self, path, text):
        """Write a system's file; return None, or why it was not written."""
        try:
            with open(path, "w") as stream:
                stream.write(str(text))
            return None
        except OSError as error:
            if not self.sudo:
                return "{}: {}".format(path, error.strerror)
        try:
            done = subprocess.run(
                ["sudo", "-n", "tee", path],
                input=str(text).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=10,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return "{}: {}".format(path, error)
        if done.returncode:
            return "{}: {}".format(path, done.stderr.decode("utf-8", "replace").strip())
        return None
