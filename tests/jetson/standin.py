"""Puts the stand-in trtexec into a folder, as the TensorRT of a board."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def install(
    root: Path,
    version: str,
    board: str = "xavier",
    fail: dict[str, Any] | None = None,
    python: str = sys.executable,
) -> Path:
    """Install it under `root` as trtexec of `version`, failing as `fail` says; return its path.

    `python` is what its first line names: "/usr/bin/env python3" on a board. Once more with the
    same `root` is another TensorRT, or another behaviour, on the same board.
    """
    folder = root / "usr/src/tensorrt/bin"
    folder.mkdir(parents=True, exist_ok=True)
    for file in HERE.glob("trtexec_*"):
        shutil.copy(file, folder)
    program = folder / "trtexec"
    source = (HERE / "trtexec").read_text()
    program.write_text(source.replace("#!/usr/bin/env python3", f"#!{python}", 1))
    program.chmod(0o755)
    config = {"version": version, "board": board, "fail": fail or {}}
    (folder / "trtexec.json").write_text(json.dumps(config))
    return program
