"""Who may import whom, read from the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("edgecc", "passes", "targets")
HEAVY = {"torch", "tvm", "tvm_ffi", "tensorrt", "tensorrt_rtx", "ziglang"}
ALLOWED = {
    "passes": (
        "edgecc.builder",
        "edgecc.calibration.statistics",
        "edgecc.conv",
        "edgecc.errors",
        "edgecc.graph",
        "edgecc.layers",
        "edgecc.products",
        "edgecc.rewrite",
        "passes",
    ),
    "targets": ("edgecc.target", "edgecc.errors", "targets"),
    "edgecc": ("edgecc",),
}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(file: Path, *, top_level: bool = False) -> Iterator[str]:
    tree = ast.parse(file.read_text())
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", OURS)
def test_packages_import_only_what_they_may(package: str) -> None:
    for file in files(package):
        if file.name == "catalog.py":
            continue
        allowed = ALLOWED[package]
        if package == "targets":  # a backend sees no other backend
            allowed = (*allowed[:2], ".".join(file.relative_to(ROOT).parts[:2]).removesuffix(".py"))
        for name in imports(file):
            if name.partition(".")[0] in OURS:
                assert any(name == a or name.startswith(f"{a}.") for a in allowed), (file, name)


@pytest.mark.parametrize("package", OURS)
def test_heavy_packages_are_imported_where_they_are_used(package: str) -> None:
    for file in files(package):
        heavy = {name.partition(".")[0] for name in imports(file, top_level=True)} & HEAVY
        assert not heavy, (file, heavy)


@pytest.mark.parametrize("package", OURS)
def test_files_do_one_thing(package: str) -> None:
    for file in files(package):
        lines = file.read_text().count("\n")
        assert lines <= 300, (file, lines)
        assert file.stem not in {"utils", "common", "helpers"}


def test_the_catalogue_lists_every_pass_and_backend() -> None:
    from edgecc import catalog

    rooms = ("prepare", "decompose", "legalise")
    shared = {"__init__", "affine", "rank", "obs", "clusters", "keep", "roles", "coupled"}
    shared |= {"shared_basis", "kronecker", "descent", "ranges"}
    there = {f.stem for room in rooms for f in (ROOT / "passes" / room).glob("*.py")} - shared
    assert set(catalog.passes()) == there
    folders = {f.parent.name for f in (ROOT / "targets").glob("*/__init__.py")}
    assert set(catalog.backends()) == folders


def test_every_board_can_be_read_and_its_passes_too() -> None:
    from edgecc import catalog

    assert set(catalog.targets()) == {f.stem for f in (ROOT / "targets/boards").glob("*.toml")}
    for board in catalog.targets().values():
        catalog.pipeline(board.passes)
        assert board.backend in board.backends
        assert set(board.backends) <= set(catalog.backends())
