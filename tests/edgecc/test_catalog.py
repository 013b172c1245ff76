from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgecc import catalog
from edgecc.errors import EdgeccError, UsageError

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from edgecc import Pass

@dataclass(frozen=True)
class Mine(Pass):
    """A pass of somebody else."""
    name: ClassVar[str] = "mine"
    room: ClassVar[str] = "prepare"
    def run(self, model):
        return []

boards = Path(__file__).parent / "my_boards"
'''
BOARD = """
name = "toaster"
title = "a toaster"
arch = "aarch64"
cpu = "cortex-a53"
backend = "tvm"
backends = ["tvm"]
passes = "mine"
"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    caches = (catalog.passes, catalog.backends, catalog.targets)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def plug_in(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint("x", value, group) for key, value in points.items() if key in group]

    monkeypatch.setattr(catalog, "entry_points", found)


def test_passes_and_boards_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    (tmp_path / "my_boards").mkdir()
    (tmp_path / "my_boards" / "toaster.toml").write_text(BOARD)
    monkeypatch.syspath_prepend(tmp_path)
    plug_in(monkeypatch, passes="my_plugin:Mine", targets="my_plugin:boards")
    assert str(catalog.pipeline("mine, dac")) == "mine, dac"
    assert catalog.target("toaster").cpu == "cortex-a53"
    assert set(catalog.backends()) == {"onnxruntime", "tvm", "tensorrt", "tensorrt_rtx"}


def test_a_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, passes="no_such_module:Mine")
    with pytest.raises(EdgeccError, match=r"plugin 'x' \(no_such_module:Mine\)"):
        catalog.passes()


@pytest.mark.parametrize("text", ["name = ", BOARD.replace("cpu", "cppu"), 'name = "x"'])
def test_a_damaged_board_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "toaster.toml").write_text(text)
    monkeypatch.setattr(catalog, "_plugins", lambda group: iter([tmp_path]))
    with pytest.raises(EdgeccError, match=r"board file .*toaster\.toml is damaged"):
        catalog.targets()


def test_unknown_backends_and_targets() -> None:
    with pytest.raises(UsageError, match="no backend 'tensorflow'"):
        catalog.backend("tensorflow")
    with pytest.raises(UsageError, match="no backend 'tvm' for xavier"):
        catalog.backend("tvm", catalog.target("xavier"))


def test_another_package_of_the_same_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "passes").mkdir()
    (tmp_path / "passes" / "__init__.py").touch()
    result = subprocess.run(
        [sys.executable, "-m", "edgecc", "passes"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "another package named 'passes' stands before edgecc's" in result.stderr
