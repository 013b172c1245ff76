"""Fixtures: a cache for each test, where the real models lie, a place to write a model, a bundle to
run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import scipy.linalg  # noqa: F401  (it brings a BLAS of its own, to be limited too)
from threadpoolctl import threadpool_limits

from edgecc.target import Artifact

REPOSITORY = Path(__file__).resolve().parent.parent
ASSETS = Path(os.environ.get("EDGECC_ASSETS", REPOSITORY.parent / "shared" / "assets"))
SaveModel = Callable[[onnx.ModelProto], Path]
FETCHES = REPOSITORY / "tests" / "targets"
"""Tests that need what TVM and zig keep in the user's cache, fetched once."""
DOCUMENTS = REPOSITORY / "tests" / "test_readme.py"
"""Tests that need it too, and print what depends on what was measured here."""
NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each test has a cache of its own: none leaves statistics in the user's, or finds any."""
    if request.path.is_relative_to(FETCHES):
        return
    home = tmp_path_factory.getbasetemp() / "caches" / str(next(NUMBERS))
    if request.path == DOCUMENTS:
        link_fetched(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))


def link_fetched(home: Path) -> None:
    """Make a cache with what was fetched for the user's, and nothing that was measured."""
    real = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    (home / "edgecc").mkdir(parents=True)
    for entry in [*real.glob("*"), *(real / "edgecc").glob("*")]:
        if entry.name not in ("edgecc", "prices", "statistics"):
            (home / entry.relative_to(real)).symlink_to(entry)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As the product computes: on one thread of BLAS."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def assets() -> Path:
    if not (ASSETS / "models").is_dir():
        pytest.skip(f"no real models at {ASSETS} (set EDGECC_ASSETS)")
    return ASSETS


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    """A small classifier, built by TVM for this machine."""
    from tvm_networks import build, classifier

    folder = tmp_path_factory.mktemp("bundle")
    return folder, build(classifier(), folder)


@pytest.fixture
def save(tmp_path: Path) -> SaveModel:
    def write(model: onnx.ModelProto, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return write
