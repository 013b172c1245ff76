"""What a device lacks for building and measuring, and the command that mends each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from edgecc import catalog
from edgecc.device.connect import Device, connect
from edgecc.device.remote import NO_PYTHON, Remote
from edgecc.errors import EdgeccError
from edgecc.measure.candidates import is_board
from edgecc.target import Target

Identity = Mapping[str, Any]
LEAST_FREE_MB = 500
"""What bundles, an engine and its timing cache take, a few of each."""
SUDO = (
    'echo "$USER ALL=(ALL) NOPASSWD: ALL" | sudo tee /etc/sudoers.d/edgecc  (then whoever is '
    "that user is root)"
)
UNKNOWN_DEVICE = {("p3668-0003", "8.2.1")}
"""Module and TensorRT that end with "Unknown embedded device detected" (NVIDIA/TensorRT#1866)."""


@dataclass(frozen=True)
class Lack:
    """Something that a device lacks."""

    what: str
    so: str
    """What follows from that."""
    command: str | None
    """What mends it, on the device; None where no single command does."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Found:
    """A device, as it answered."""

    name: str
    url: str
    target: str | None
    identity: dict[str, Any] | None
    """None where it did not answer."""
    why: str | None
    """Why it did not."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "lacks": [lack.to_json() for lack in self.lacks]}

    @property
    def lacks(self) -> list[Lack]:
        """What it lacks, where it answered."""
        if self.identity is None:
            return []
        board = catalog.targets().get(self.target or "")
        found = list(lacks(self.identity, board))
        if self.target and board is None:
            what = f"there is no target '{self.target}', which devices.toml says that it is"
            found.insert(0, Lack(what, "--devices all leaves it out: see 'edgecc targets'", None))
        return found


def look(devices: Mapping[str, Device]) -> list[Found]:
    """Ask every device what it is, all at once."""
    if not devices:
        return []
    with ThreadPoolExecutor(max_workers=min(16, len(devices))) as pool:
        return list(pool.map(lambda item: ask(item[0], *_of(item[1])), devices.items()))


def ask(name: str, url: str, target: str | None = None) -> Found:
    """Ask one device what it is; that it does not answer is told in `why`."""
    try:
        with connect(name) as transport:
            return Found(name, url, target, Remote(transport).identify(), None)
    except EdgeccError as error:
        return Found(name, url, target, None, str(error))


def lacks(identity: Identity, board: Target | None) -> Iterator[Lack]:
    """Yield what a device lacks, being `board` where that is known."""
    if identity.get("python") is None:
        yield Lack(
            "it has no Python 3.6 or later", "only TVM bundles can be timed there", NO_PYTHON
        )
    yield from _privilege(identity)
    if board is not None:
        yield from _board(identity, board)
    for place, free_mb in (identity.get("disk_free_mb") or {}).items():
        if isinstance(free_mb, (int, float)) and free_mb < LEAST_FREE_MB:
            yield Lack(
                f"{place} has {free_mb:.0f} MB left", "bundles and engines may not fit", "df -h"
            )


def _privilege(identity: Identity) -> Iterator[Lack]:
    sensors = identity.get("sensors") or {}
    command = sensors.get("to_show_power")
    if not sensors.get("power_readable"):
        what = "its power is hidden from this user" if command else "it has no power sensor"
        yield Lack(what, "time is measured, energy is not", command)
    if identity.get("root") is False and identity.get("sudo") is False:
        yield Lack(
            "this user is not root and has no sudo without a password",
            "clocks cannot be pinned, nor the power mode set",
            SUDO,
        )


def _board(identity: Identity, board: Target) -> Iterator[Lack]:
    if identity.get("machine") not in (None, board.machine) or not is_board(identity, board):
        told = identity.get("model") or identity.get("soc") or identity.get("machine")
        yield Lack(f"it is {told}, not {board.title}", "bundles for that do not run there", None)
    if board.jetson is None:
        return
    if identity.get("tensorrt") is None:
        yield Lack("TensorRT is not installed", "no engine", "sudo apt-get install tensorrt")
    elif identity.get("trtexec") is None:
        yield Lack("trtexec is not installed", "no engine", "sudo apt-get install libnvinfer-bin")
    if (identity.get("module"), identity.get("tensorrt")) in UNKNOWN_DEVICE:
        yield Lack(
            f"TensorRT {identity['tensorrt']} does not know this module",
            "it ends with 'Unknown embedded device detected'; another JetPack is needed",
            None,
        )


def _of(device: Device) -> tuple[str, str | None]:
    return device.url, device.target
