"""Fixtures: a stand-in Jetson in a folder, and a real sshd that leads to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jetson.board import Board
from jetson.sshd import Sshd

from edgecc.device.local import Local
from edgecc.device.remote import Remote
from edgecc.device.ssh import Ssh


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """A Jetson that this machine's own processes see."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EDGECC_SYSROOT", str(tmp_path / "root"))
    return Board.make(tmp_path / "root")


@pytest.fixture
def remote(board: Board) -> Remote:
    """The agent on that Jetson, without a link."""
    return Remote(Local())


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """An sshd whose sessions see the Jetson in `tmp_path / "root"`, where a test makes one."""
    server = Sshd(tmp_path / "sshd", {"EDGECC_SYSROOT": str(tmp_path / "root")})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ssh(sshd: Sshd) -> Iterator[Ssh]:
    """The way to it."""
    with Ssh(sshd.url, config=sshd.config) as transport:
        yield transport
