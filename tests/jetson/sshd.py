"""A real sshd on this machine's loopback: own keys, own port, own configuration of ssh."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

STARTS_S = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sshd:
    """An sshd with one user, the one that runs the tests; `home` is theirs over this ssh."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        if not (os.access(program, os.X_OK) and shutil.which("ssh")):
            pytest.skip("needs openssh-server and openssh-client")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # sshd's own, which it needs to be there
        self.folder, self.port, self._program = folder, free_port(), program
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.config, self.known_hosts = folder / "ssh_config", folder / "known_hosts"
        self.make_key("host_key")
        self.make_key("id")
        shutil.copy(folder / "id.pub", folder / "authorized_keys")
        told = {"HOME": str(self.home), **(environment or {})}
        self.settings = {
            "Port": f"{self.port}",
            "ListenAddress": "127.0.0.1",
            "HostKey": f"{folder}/host_key",
            "PidFile": "none",
            "AuthorizedKeysFile": f"{folder}/authorized_keys",
            "StrictModes": "no",
            "UsePAM": "no",
            "UseDNS": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "yes",
            "SetEnv": " ".join(f"{name}={value}" for name, value in told.items()),
        }
        self.know()
        self.configure()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ssh://127.0.0.1:{self.port}"

    def make_key(self, name: str) -> None:
        for file in (self.folder / name, self.folder / f"{name}.pub"):
            file.unlink(missing_ok=True)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(words, check=True)

    def know(self) -> None:
        """Accept the host's key, as a user does at the first login."""
        key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}\n")

    def configure(self, more: str = "") -> None:
        """Write the user's configuration of ssh, `more` before what holds for every host."""
        self.config.write_text(
            f"{more}\nHost *\n  UserKnownHostsFile {self.known_hosts}\n"
            f"  GlobalKnownHostsFile /dev/null\n  IdentityFile {self.folder}/id\n"
            "  IdentitiesOnly yes\n"
        )

    def start(self) -> Sshd:
        text = "".join(f"{name} {value}\n" for name, value in self.settings.items())
        (self.folder / "sshd_config").write_text(text)
        words = [self._program, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        ends = time.monotonic() + STARTS_S
        while time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError((self.folder / "sshd.log").read_text())

    def sessions(self) -> list[int]:
        """The processes of sshd that serve a connection, by their ids."""
        assert self._process is not None
        return [
            pid
            for pid in _descendants(self._process.pid)
            if Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
        ]

    def cut(self) -> None:
        """End every connection at once, as when a cable is pulled; what ran there runs on."""
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _descendants(parent: int) -> list[int]:
    found = []
    for line in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        found += [int(line), *_descendants(int(line))]
    return found
