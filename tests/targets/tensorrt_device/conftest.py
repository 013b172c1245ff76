"""A board with the stand-in trtexec, and a small bundle for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tensorrt_board import Board, write_bundle

from targets.tensorrt.device import engine


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "board")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board whose cache has the bundle's engine, of TensorRT 8.5.2."""
    root = tmp_path_factory.mktemp("once")
    Board(root / "board").put("8.5.2").build(write_bundle(root / "bundle"))
    return root


@pytest.fixture
def built(once: Path, tmp_path: Path) -> Board:
    """A copy of that board, and of the bundle beside it."""
    for name in ("board", "bundle"):
        shutil.copytree(once / name, tmp_path / name, dirs_exist_ok=True)
    board = Board(tmp_path / "board").put("8.5.2")
    engine.find(str(tmp_path / "bundle"), board.identity, board.environ)
    return board
