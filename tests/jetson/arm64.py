"""An emulated arm64 machine on this machine's loopback, over real ssh, that is a Jetson to look at.

`qemu-user` runs its programs: what works there is shown, never how fast.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from jetson import standin
from jetson.board import Board
from jetson.sshd import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("EDGECC_TOOLS", REPOSITORY.parent / "shared" / "tools")) / "arm64"
NEEDED = ("qemu-aarch64-static", "mmdebstrap", "update-binfmts", "ssh", "scp", "unshare")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgecc-tests" / "arm64"
"""Whole roots by what went into them: only the first session downloads anything."""
WHEELS = ("numpy==2.3.5", "onnxruntime==1.31.1")
"""What the stand-in trtexec runs networks with."""


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


def make(folder: Path, port: int, packages: str = "", wheels: Sequence[str] = ()) -> Path:
    """Make the machine's root in a folder, its keys and `known_hosts` beside; return the root."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0 or not TOOLS.is_dir():
        pytest.skip(f"needs root, {TOOLS} and: {', '.join(missing) or 'nothing else'}")
    setup = TOOLS / "setup_edge.sh"
    facts = (setup.read_text(), packages, *wheels)
    kept = CACHE / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            new = kept.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            _set_up(new, port, packages)
            if wheels:
                _fetch(wheels, new / "root/usr/local/lib/python3.11/dist-packages")
            new.rename(kept)
        subprocess.run(["cp", "-a", f"{kept}/.", str(folder)], check=True)
    _set_up(folder, port, packages)
    return folder / "root"


def _set_up(folder: Path, port: int, packages: str) -> None:
    """Make a root; of one that is there already, say that it listens on `port`."""
    environment = {**os.environ, "PORT": f"{port}", "EXTRA_PKGS": packages}
    setup = ["bash", str(TOOLS / "setup_edge.sh"), str(folder)]
    done = subprocess.run(setup, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let an arm64 root be made: {done.stderr[-300:]}")


def _fetch(wheels: Sequence[str], folder: Path) -> None:
    """Install packages for Python 3.11 on aarch64, with this machine's pip."""
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 24, 17)]
    tags = [
        word
        for name, values in (
            ("--platform", [*platforms, "manylinux2014_aarch64", "any"]),
            ("--abi", ["cp311", "abi3", "none"]),
        )
        for value in values
        for word in (name, value)
    ]
    versions = ["--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    done = subprocess.run(
        [*pip, *versions, *tags, *wheels], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no onnxruntime for arm64 can be fetched: {done.stderr[-300:]}")


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
    root = make(folder, port, "python3", WHEELS)
    board = Board.make(root / "jetson")
    standin.install(board.root, "8.5.2", python="/usr/bin/python3")
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
