"""How many sums a convolution keeps in registers, by a small model of the core."""

from __future__ import annotations

from dataclasses import dataclass

from targets.tvm.core import Core

L2_BYTES_PER_CYCLE = 24.0


@dataclass(frozen=True)
class Tile:
    """Sums are vectors: `blocks` of output channels x `rows` x `columns`."""

    blocks: int
    rows: int
    columns: int

    @property
    def sums(self) -> int:
        return self.blocks * self.rows * self.columns


def cycles(core: Core, tile: Tile, weights: int) -> float:
    """Return the cycles that one step (an input channel at one tap) takes.

    `weights` counts the numbers that one block of outputs reads; beyond L1 they come from L2.
    """
    pixels = tile.rows * tile.columns
    loads = tile.blocks + pixels if tile.blocks > 1 else 1 + pixels
    streamed = tile.blocks * core.lanes * 4
    held = weights * tile.blocks * 4 <= core.l1_kb * 1024 / 2
    return max(
        tile.sums / core.fma_per_cycle,
        loads / core.loads_per_cycle,
        float(core.fma_cycles),
        0.0 if held else streamed / L2_BYTES_PER_CYCLE,
    )


def register_tile(core: Core, blocks: int, rows: int, columns: int, weights: int = 0) -> Tile:
    """Return the tile that takes the fewest cycles for an output of this shape."""
    best, found = float("inf"), Tile(1, 1, 1)
    for b in (size for size in range(1, 17) if blocks % size == 0):
        for r in (size for size in range(1, 5) if rows % size == 0):
            for c in range(1, columns + 1):
                tile = Tile(b, r, c)
                if tile.sums > core.registers - min(b, r * c) - 1:
                    break
                steps = blocks // b * (rows // r) * -(-columns // c)
                taken = steps * (cycles(core, tile, weights) + 0.01 * core.registers / tile.sums)
                if taken < best * (1 - 1e-9):
                    best, found = taken, tile
    return found
