"""An emulated arm64 machine on this machine's loopback, over real ssh, that is a Jetson to look at.

`qemu-user` runs its programs: what works there is shown, never how fast.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jetson.board import Board
from jetson.sshd import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("EDGECC_TOOLS", REPOSITORY.parent / "shared" / "tools")) / "arm64"
NEEDED = ("qemu-aarch64-static", "mmdebstrap", "update-binfmts", "ssh", "scp", "unshare")


@dataclass(frozen=True)
class Arm64:
    """The machine: its root on this machine, and the way to it."""

    root: Path
    port: int
    config: Path
    """A configuration of ssh that knows its key."""
    board: Board
    """The Jetson's files, as a session there sees them through `EDGECC_SYSROOT=/jetson`."""

    @property
    def url(self) -> str:
        return f"ssh://root@127.0.0.1:{self.port}"


def make(folder: Path, port: int, packages: str = "") -> Path:
    """Make the machine's root in a folder, its keys and `known_hosts` beside; return the root."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0 or not TOOLS.is_dir():
        pytest.skip(f"needs root, {TOOLS} and: {', '.join(missing) or 'nothing else'}")
    environment = {**os.environ, "PORT": f"{port}", "EXTRA_PKGS": packages}
    setup = ["bash", str(TOOLS / "setup_edge.sh"), str(folder)]
    done = subprocess.run(setup, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let an arm64 root be made: {done.stderr[-300:]}")
    return folder / "root"


@contextlib.contextmanager
def running(folder: Path, port: int) -> Iterator[None]:
    """Let the machine of a folder run."""
    control = ["bash", str(TOOLS / "edgedev.sh")]
    place = [str(folder / "root"), f"{port}", str(folder / "state")]
    subprocess.run([*control, "start", *place, str(TOOLS / "cpuinfo.a72")], check=True)
    try:
        yield
    finally:
        subprocess.run([*control, "stop", *place], check=True)


@pytest.fixture(scope="session")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arm64]:
    folder, port = tmp_path_factory.mktemp("arm64"), free_port()
    root = make(folder, port, "python3")
    board = Board.make(root / "jetson")
    settings = root / "etc/ssh/sshd_config.edge"
    seen = "SetEnv QEMU_CPU=cortex-a72 EDGECC_SYSROOT=/jetson"  # sshd takes the first line alone
    settings.write_text(settings.read_text().replace("SetEnv QEMU_CPU=cortex-a72", seen))
    config = folder / "ssh_config"
    config.write_text(
        f"Host *\n  UserKnownHostsFile {folder}/known_hosts\n  IdentityFile {folder}/id_edge\n"
        "  GlobalKnownHostsFile /dev/null\n  IdentitiesOnly yes\n"
    )
    with running(folder, port):
        yield Arm64(root, port, config, board)
