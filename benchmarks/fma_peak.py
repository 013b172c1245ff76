"""What one core can do at best, in GFLOP/s: vectors of float32 multiplied and added."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
ROUNDS = 100_000


class Peak:
    """The kernel, compiled for this processor."""

    def __init__(self) -> None:
        wide = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", *wide]
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "fma_peak.so"
            line = [sys.executable, "-m", "ziglang", "cc", *flags, str(SOURCE), "-o", str(library)]
            subprocess.run(line, check=True)
            code = ctypes.CDLL(str(library))
        self._run: Callable[[int, float, float], float] = code.multiply_add
        code.multiply_add.argtypes = (ctypes.c_long, ctypes.c_float, ctypes.c_float)
        code.multiply_add.restype = ctypes.c_float
        code.operations.argtypes, code.operations.restype = (ctypes.c_long,), ctypes.c_long
        self._operations: int = code.operations(ROUNDS)
        self.lanes: int = code.lanes()
        """Numbers in a vector."""

    def gflops(self, times: int = 50) -> float:
        """The best of runs of a millisecond: a busy machine interrupts longer ones."""
        best = float("inf")
        for _ in range(times):
            start = time.perf_counter()
            self._run(ROUNDS, 0.5, 1.0)
            best = min(best, time.perf_counter() - start)
        return self._operations / best / 1e9


if __name__ == "__main__":
    peak = Peak()
    found = peak.gflops()
    print(f"{found:.1f} GFLOP/s: {found / peak.lanes / 2:.2f} G vectors of {peak.lanes} a second")
