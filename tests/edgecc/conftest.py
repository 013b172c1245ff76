"""A model with a residual sum, its samples, and where the bundle goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Place
from residual import NETWORK, X

Save = Callable[..., Path]


@pytest.fixture
def model(save: Save) -> Path:
    return save(NETWORK)


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    np.savez(tmp_path / "x.npz", x=X)
    return tmp_path / "x.npz"


@pytest.fixture
def place(save: Save, tmp_path: Path) -> Place:
    """A model, its samples, and where the bundle goes."""
    np.savez(tmp_path / "x.npz", x=X)
    return save(NETWORK, "net.onnx"), tmp_path / "x.npz", tmp_path / "out"
