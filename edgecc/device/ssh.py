"""A device over ssh, through the user's own OpenSSH client: their config, keys and jump hosts.

One connection is made and shared by every command (ControlMaster), so that each costs a few
milliseconds. Host keys are checked and no password is ever asked for: what the user would have to
answer becomes an error that says which command asks them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgecc.device.process import Done, SilentError, finish
from edgecc.device.ssh_answers import Asked, explain
from edgecc.device.transport import Transport
from edgecc.errors import DeviceError, UsageError

CONNECT_S = 10
"""For one hop; a way over jump hosts has three times that."""
ALIVE_S, ALIVE_COUNT = 5, 3
"""A link that does not answer for 15 s is lost."""
CONFIG = "EDGECC_SSH_CONFIG"
"""Names a configuration to use instead of ~/.ssh/config."""


@dataclass(frozen=True)
class Address:
    """`ssh://user@host:port`; the host may be a name of the user's ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read an address. Errors: `UsageError`."""
        hint = "as in ssh://user@192.168.1.7 or ssh://name-in-ssh-config:2222"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"{url} is no address: {error}", hint=hint) from None
        if parts.password is not None:
            raise UsageError(
                f"ssh://{parts.username}:...@{host} holds a password, which ssh takes from nobody",
                hint="put a key there with ssh-copy-id, and leave the password out",
            )
        if parts.scheme != "ssh" or not host or parts.path.strip("/") or parts.query:
            raise UsageError(f"{url} is no address of a device", hint=hint)
        # urlsplit writes hosts in lower case; names in ssh's configuration are as they are
        _, _, tail = parts.netloc.rpartition("@")
        exact = host if tail.startswith("[") else tail.partition(":")[0]
        if exact.startswith("-") or (parts.username or "").startswith("-"):
            raise UsageError(f"{url} is no address of a device", hint=hint)
        return cls(exact, parts.username, port)

    @property
    def words(self) -> tuple[str, ...]:
        """The address as ssh takes it."""
        port = () if self.port is None else ("-p", str(self.port))
        return (*port, self.host if self.user is None else f"{self.user}@{self.host}")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = "" if self.user is None else f"{self.user}@"
        return f"ssh://{user}{host}" + ("" if self.port is None else f":{self.port}")


class Ssh(Transport):
    """A device behind the OpenSSH client."""

    def __init__(self, url: str, *, config: Path | None = None, name: str | None = None) -> None:
        self.address = Address.parse(url)
        self.name = name or str(self.address)
        given = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
        self._config = () if given is None else ("-F", os.fspath(given))
        self._folder: Path | None = None
        if shutil.which("ssh") is None:
            raise DeviceError("there is no ssh on this machine", hint="install openssh-client")

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the ssh command that runs `argv` there. Errors: `DeviceError`."""
        self._connect()
        return [*self._ssh("no"), "--", self.address.words[-1], shlex.join(argv)]

    def failure(self, done: Done) -> DeviceError | None:
        """Return why the link failed; ssh says so with exit code 255, as a command there might."""
        if done.returncode != 255:
            return None
        known = explain(self._asked, done.stderr)
        if known is None and self._is_connected():
            return None
        return known or DeviceError(
            f"{self.name}: the link was lost", hint="is the device still on, and in reach?"
        )

    def close(self) -> None:
        """End the shared connection."""
        if self._folder is not None:
            self._closing()

    @property
    def _asked(self) -> Asked:
        return Asked(self.name, (*self._config, *self.address.words))

    def _ssh(self, master: str) -> list[str]:
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(CONNECT_S),
            "ServerAliveInterval": str(ALIVE_S),
            "ServerAliveCountMax": str(ALIVE_COUNT),
            "ControlMaster": master,
            "ControlPersist": "60",
            "ControlPath": f"{self._folder}/m",
            "ClearAllForwardings": "yes",
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "LogLevel": "ERROR",
        }
        port = self.address.words[:-1]
        return [
            *("ssh", *self._config, *port),
            *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        ]

    def _connect(self) -> None:
        """Make the shared connection where there is none, before any command.

        It goes into the background with its own output: a command that started it would seem to
        run for as long as it lives.
        """
        if self._folder is None:
            # in /tmp: the path of a socket has 108 bytes at most
            self._folder = Path(tempfile.mkdtemp(prefix="edgecc-", dir="/tmp"))
            where = [*self._ssh("no"), "-O", "exit", "--", self.address.words[-1]]
            self._closing = weakref.finalize(self, _leave, where, self._folder)
        if (self._folder / "m").exists():
            return
        command = [*self._ssh("auto"), "-f", "-N", "--", self.address.words[-1]]
        with tempfile.TemporaryFile() as errors:
            try:
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=3 * CONNECT_S,
                    start_new_session=True,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                raise DeviceError(
                    f"{self.name} does not answer: not connected after {3 * CONNECT_S} s",
                    hint="is it on, and in this network?",
                ) from None
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if code:
            raise explain(self._asked, said) or DeviceError(
                f"{self.name} cannot be reached: {said.strip() or f'ssh ended with {code}'}",
                hint=f"try: {self._asked.command}",
            )

    def _is_connected(self) -> bool:
        where = [*self._ssh("no"), "-O", "check", "--", self.address.words[-1]]
        with contextlib.suppress(SilentError):
            return finish(where, b"", 5).returncode == 0
        return False


def _leave(command: list[str], folder: Path) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        subprocess.run(command, capture_output=True, timeout=5, check=False)
    shutil.rmtree(folder, ignore_errors=True)
