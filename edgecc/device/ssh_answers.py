"""What OpenSSH says when it cannot connect, as an error with the command that helps."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from edgecc.errors import DeviceError

CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
UNKNOWN = re.compile(r"No (\S+) host key is known|Host key verification failed")
DENIED = re.compile(r"Permission denied \(([^)]*)\)")
PASSWORDS = {"password", "keyboard-interactive"}
UNREACHABLE = (
    "Could not resolve hostname",
    "Connection refused",
    "Connection timed out",
    "Operation timed out",
    "No route to host",
    "Network is unreachable",
    "Connection closed by",
    "Connection reset by",
    "kex_exchange_identification",
    "banner exchange",
)
LOST = ("Broken pipe", "Timeout, server", "client_loop", "Shared connection", "mux_client")


@dataclass(frozen=True)
class Asked:
    """Whom ssh was asked to reach: the device's name, and the words after `ssh`."""

    name: str
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        """What a user types to get there."""
        return shlex.join(("ssh", *self.words))


def explain(asked: Asked, said: str) -> DeviceError | None:
    """Return what went wrong by what ssh said, or None where it is not known."""
    if CHANGED in said:
        return _changed(asked, said)
    if found := UNKNOWN.search(said):
        key = f"its {found[1]} host key" if found[1] else "its host key"
        return DeviceError(
            f"{asked.name} is not known yet: {key} was never accepted on this machine",
            hint=f"log in once and compare the key's fingerprint: {asked.command}",
        )
    if denied := DENIED.search(said):
        return _denied(asked, set(denied[1].split(",")))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if any(word in line for word in UNREACHABLE):
            return DeviceError(
                f"{asked.name} cannot be reached: {line}",
                hint=f"is it on, and in this network? try: {asked.command}",
            )
        if any(word in line for word in LOST):
            return DeviceError(
                f"{asked.name}: the link was lost: {line}",
                hint="is the device still on, and in reach?",
            )
        if "Bad configuration option" in line or "Bad owner or permissions" in line:
            return DeviceError(f"ssh does not read its configuration: {line}")
    return None


def _changed(asked: Asked, said: str) -> DeviceError:
    # ssh names the file and the host as they are listed there
    remove = re.search(r"ssh-keygen -f .*", said)
    offending = re.search(r"Offending \S+ key in (.+):\d+", said)
    host = asked.words[-1].rpartition("@")[2]
    file = f" -f {shlex.quote(offending[1])}" if offending else ""
    command = remove[0].strip() if remove else f"ssh-keygen{file} -R {shlex.quote(host)}"
    return DeviceError(
        f"{asked.name} has another host key than before: another device answers at its address, "
        "or it was set up anew",
        hint=f"if that is so, forget the old key: {command}; then log in once: {asked.command}",
    )


def _denied(asked: Asked, ways: set[str]) -> DeviceError:
    words = shlex.join(asked.words)
    if ways & PASSWORDS:
        return DeviceError(
            f"{asked.name} asks for a password, which edgecc never types",
            hint=f"put your key there once: ssh-copy-id {words}",
        )
    return DeviceError(
        f"{asked.name} accepts none of your keys",
        hint=f"name the right one in ~/.ssh/config (User, IdentityFile), and try: {asked.command}",
    )
