"""A user of edgecc whose board is the emulated arm64 machine: what they type here, and there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from command_line import words
from helpers import conv_model
from jetson import standin
from jetson.arm64 import Arm64
from jetson.board import PACKAGES, Board

from edgecc import job

ENGINES = "root/.cache/edgecc/engines"


@dataclass(frozen=True)
class User:
    """Somebody at a prompt, in a folder with a devices.toml that names the board `jetson`."""

    home: Path
    machine: Arm64

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_CACHE_HOME": str(self.home / "cache"), "COLUMNS": "120"}

    def edgecc(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type a command; it ends with `code`, and never with a traceback."""
        line = [sys.executable, "-m", "edgecc", *map(str, arguments)]
        done = subprocess.run(
            line,
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def refused(self, *arguments: object, code: int) -> str:
        """Type a command that ends with an error; return what it says in one line."""
        before = self.machine.board.settings()
        said = words(self.edgecc(*arguments, code=code).stderr)
        assert self.machine.board.settings() == before
        assert self.machine.board.leftovers() == []
        return said

    def on_board(self, command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type a command on the board, over plain ssh."""
        machine = self.machine
        line = ["ssh", "-F", str(machine.config), "-p", f"{machine.port}", "root@127.0.0.1"]
        done = subprocess.run(
            [*line, command], capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def copy(self, source: str, target: str) -> None:
        """Copy with scp; what is on the board begins with `root@127.0.0.1:`."""
        line = ["scp", "-q", "-r", "-F", str(self.machine.config), "-P", f"{self.machine.port}"]
        subprocess.run([*line, source, target], cwd=self.home, check=True, timeout=300)


@pytest.fixture
def user(arm64: Arm64, tmp_path: Path) -> User:
    """With an empty cache here, and a board as it comes: no engines, TensorRT 8.5.2."""
    (tmp_path / "devices.toml").write_text(
        f'[jetson]\nurl = "{arm64.url}"\ntarget = "xavier"\nssh_config = "{arm64.config}"\n'
    )
    Board.make(arm64.board.root)
    board_has(arm64, "8.5.2")
    shutil.rmtree(arm64.root / ENGINES, ignore_errors=True)
    return User(tmp_path, arm64)


def board_has(machine: Arm64, version: str, **fail: Any) -> None:
    """Give the board another TensorRT, or another behaviour."""
    standin.install(machine.board.root, version, python="/usr/bin/python3", fail=fail)
    packages = {**PACKAGES["5.1"], "libnvinfer8": f"{version}-1+cuda11.4"}
    machine.board.write(
        "var/lib/dpkg/status",
        "\n".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: {its}\n"
            for name, its in packages.items()
        ),
    )


def small(folder: Path, target: str = "xavier", **options: Any) -> Path:
    """A bundle of one convolution, at opset 17."""
    onnx.save(conv_model(8, 8, (3, 3)), folder / "small.onnx")
    made = job.build(folder / "small.onnx", target, passes="", out=folder / "small", **options)
    return made.folder


def trace_of(folder: Path) -> Path:
    """The newest trace of a bundle."""
    return max((folder / "trace").glob("*/record.jsonl")).parent


def events(trace: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (trace / "record.jsonl").read_text().splitlines()]
