"""The core that code is made for: from the board's file, or what this machine has."""

from __future__ import annotations

import re
from pathlib import Path

from edgecc.target import Core, Target
from targets.tvm.toolchain import cpu_flags, host_cpu, triple_of

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

# AArch64 of an unnamed core, and x86-64 by its widest vectors, each of two multiply-adds and two
# loads a cycle: what servers and desktops have had since Haswell. The L2 caches are small ones.
_NEON = Core(
    lanes=4, registers=32, l1_kb=32, l2_kb=256, fma_per_cycle=2, loads_per_cycle=2, fma_cycles=4
)
_SSE = Core(
    lanes=4, registers=16, l1_kb=32, l2_kb=256, fma_per_cycle=2, loads_per_cycle=2, fma_cycles=4
)
_AVX2 = _SSE.model_copy(update={"lanes": 8})
_AVX512 = _SSE.model_copy(update={"lanes": 16, "registers": 32, "l2_kb": 1024})


def core_of(target: Target) -> Core:
    """Return the core of `target`: its own table, or one found out here.

    Without a table, vectors are those of `target.cpu` or of this machine, and for this machine the
    caches are its own. The same machine always gets the same answer.
    """
    if target.core is not None:
        return target.core
    core = _NEON if target.machine == "aarch64" else _x86(target)
    if target.cpu is not None or not target.is_native:
        return core
    return core.model_copy(update=_own_caches(CACHES))


def _x86(target: Target) -> Core:
    from tvm.target import Target as TvmTarget
    from tvm.target import codegen

    triple = triple_of(target)
    cpu = target.cpu or host_cpu(triple)
    llvm = TvmTarget(
        {"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": list(target.features)}
    )
    # LLVM goes by the model; a virtual machine may hide what the model has.
    flags = cpu_flags() if target.cpu is None else {"avx512f", "avx2"}
    for feature, core in (("avx512f", _AVX512), ("avx2", _AVX2)):
        if feature in flags and codegen.llvm_cpu_has_features(feature, llvm):
            return core
    return _SSE


def _own_caches(folder: Path) -> dict[str, float]:
    """Return `l1_kb` and `l2_kb` where the kernel tells them, a shared cache as a core's part."""
    found: dict[str, float] = {}
    siblings = _read(folder.parent / "topology/thread_siblings_list") or "0"
    for index in sorted(folder.glob("index*")):
        level, kind, size, sharing = (
            _read(index / name) for name in ("level", "type", "size", "shared_cpu_list")
        )
        number = re.fullmatch(r"([1-9]\d*)([KM])", size)  # some kernels list a cache without a size
        if number and sharing and kind != "Instruction" and level in ("1", "2"):
            cores = max(1, _count(sharing) // _count(siblings))
            found[f"l{level}_kb"] = int(number[1]) * {"K": 1, "M": 1024}[number[2]] / cores
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _count(ranges: str) -> int:
    """Return how many CPUs a list as `0-3,8` names."""
    parts = [part.partition("-") for part in ranges.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in parts)
