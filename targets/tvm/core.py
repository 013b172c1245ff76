"""What the schedules know of a CPU core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Core:
    lanes: int
    registers: int
    l1_kb: int = 32
    l2_kb: int = 1024
    fma_per_cycle: float = 2
    loads_per_cycle: float = 2
    fma_cycles: int = 4


def core_of(target: Any) -> Core:
    from tvm.target import Target, codegen

    from targets.tvm.toolchain import llvm_target

    if target.machine == "aarch64":
        return Core(4, 32, fma_per_cycle=1, loads_per_cycle=1)
    wide = Target({**llvm_target(target), "mattr": []})
    if codegen.llvm_cpu_has_features("avx512f", wide):
        return Core(16, 32, 48, 2048)
    return Core(8, 16)
