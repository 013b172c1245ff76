"""The core that code is made for: a board's own table, and what is found out here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tvm_networks import HOST

from edgecc.target import Core, Target, this_arch
from targets.tvm import core as found
from targets.tvm.core import core_of
from targets.tvm.toolchain import cpu_flags

TABLE = Core(
    lanes=4, registers=32, l1_kb=32, l2_kb=128, fma_per_cycle=0.5, loads_per_cycle=0.5, fma_cycles=8
)


def x86(cpu: str, *features: str) -> Target:
    changes = {"name": "b", "arch": "x86_64", "cpu": cpu, "features": features}
    return HOST.model_copy(update=changes)


def test_a_boards_own_table_comes_first() -> None:
    assert core_of(HOST.model_copy(update={"core": TABLE})) == TABLE


@pytest.mark.parametrize(
    ("target", "lanes", "registers"),
    [
        (x86("x86-64"), 4, 16),
        (x86("haswell"), 8, 16),
        (x86("haswell", "-avx2"), 4, 16),
        (x86("x86-64-v4"), 16, 32),
        (x86("x86-64-v4", "-avx512f"), 8, 16),
        (HOST.model_copy(update={"arch": "aarch64", "cpu": "cortex-a72"}), 4, 32),
    ],
)
def test_vectors_of_a_named_core(target: Target, lanes: int, registers: int) -> None:
    assert (core_of(target).lanes, core_of(target).registers) == (lanes, registers)


@pytest.mark.skipif(this_arch() != "x86_64", reason="asks an x86 machine")
@pytest.mark.parametrize(
    ("hidden", "most"), [(set(), 16), ({"avx512f"}, 8), ({"avx512f", "avx2"}, 4)]
)
def test_this_machine_has_what_its_kernel_says(
    hidden: set[str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = cpu_flags() - hidden
    monkeypatch.setattr(found, "cpu_flags", lambda: flags)
    assert core_of(HOST).lanes <= most
    assert core_of(HOST) == core_of(HOST)
    assert "avx2" not in flags or core_of(HOST).lanes >= 8


def write_cache(folder: Path, level: str, kind: str, size: str, shared: str) -> None:
    folder.mkdir(parents=True)
    for name, text in (
        ("level", level),
        ("type", kind),
        ("size", size),
        ("shared_cpu_list", shared),
    ):
        (folder / name).write_text(text + "\n")


def test_a_shared_cache_counts_as_a_cores_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "topology").mkdir()
    (tmp_path / "topology" / "thread_siblings_list").write_text("0,4\n")
    caches = tmp_path / "cache"
    write_cache(caches / "index0", "1", "Data", "48K", "0,4")
    write_cache(caches / "index1", "1", "Instruction", "32K", "0,4")
    write_cache(caches / "index2", "2", "Unified", "2M", "0-1,4-5")
    write_cache(caches / "index3", "3", "Unified", "32M", "0-7")
    monkeypatch.setattr(found, "CACHES", caches)
    assert (core_of(HOST).l1_kb, core_of(HOST).l2_kb) == (48, 1024)


def test_where_the_kernel_tells_no_caches_small_ones_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cache(tmp_path / "cache" / "index0", "1", "Data", "?", "0")
    monkeypatch.setattr(found, "CACHES", tmp_path / "cache")
    assert core_of(HOST).l1_kb == 32
    assert core_of(HOST).l2_kb in (256, 1024)
