"""The agent as one file: the same bytes each time, in a Python that has nothing else, 3.6 on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgecc.device import pack


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    digest = pack.write(tmp_path / "one")
    os.utime(Path(pack.__file__), None)
    assert pack.write(tmp_path / "two") == digest
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert os.access(tmp_path / "one", os.X_OK)
    with zipfile.ZipFile(tmp_path / "one") as archive:
        names = archive.namelist()
    assert "edgecc/device/agent/cli.py" in names
    assert "edgecc/device/ssh.py" not in names


def pythons() -> list[str]:
    """This Python, and the oldest that this machine has."""
    old = sorted(Path("~/.pyenv/versions").expanduser().glob("3.6*/bin/python3.6"))
    return [sys.executable, *(str(path) for path in old)]


@pytest.mark.parametrize("python", pythons())
def test_it_runs_alone(tmp_path: Path, python: str) -> None:
    pack.write(tmp_path / pack.NAME)
    words = [python, "-I", "-W", "error", str(tmp_path / pack.NAME), "identify"]
    empty = {"PATH": "/usr/bin:/bin", "EDGECC_SYSROOT": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        words, cwd="/", env=empty, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1
    assert found["l4t"] is None


def test_it_needs_no_newer_python_than_3_6() -> None:
    vermin = pytest.importorskip("vermin", reason="needs pip install vermin")
    config = vermin.Config()
    folders = [pack._folder(package.split(".")) for package in pack.PACKAGES]
    sources = [source for folder in folders if folder for source in sorted(folder.glob("*.py"))]
    targets = Path(pack.__file__).parents[2] / "targets"
    sources += [targets / "onnxruntime/run.py", *sorted((targets / "tvm/device").glob("*.py"))]
    assert len(sources) > 25
    for source in sources:
        visitor = vermin.visit(source.read_text(), config, path=str(source))
        assert max(visitor.minimum_versions()[1], (3, 0)) <= (3, 6), (
            source,
            visitor.output_text(),
        )
