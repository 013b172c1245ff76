"""How many sums a convolution keeps in registers, by a small model of the core."""

from __future__ import annotations

from dataclasses import dataclass

from edgecc.target import Core

LOAD_SHARE = 0.3
"""How much of a load's time shows beside the multiply-adds (fitted to a sweep of tiles)."""


CORES = 8
"""Work is cut so that so many cores have some."""
ROWS = 1.05
"""Pixels of several rows are further apart than those of one."""
MOST_BLOCKS = 4
"""Weights of more blocks lie at distances that share sets of the first cache (8 blocks of 256
channels at 14x14 reached a quarter of the speed, measured)."""


@dataclass(frozen=True)
class Tile:
    """Sums are vectors: `blocks` of output channels x `rows` x `columns`."""

    blocks: int
    rows: int
    columns: int

    @property
    def sums(self) -> int:
        """How many vectors are added up at once."""
        return self.blocks * self.rows * self.columns


def cycles(core: Core, tile: Tile) -> float:
    """Return the cycles that one step (an input channel at one tap) takes."""
    pixels = tile.rows * tile.columns
    loads = (tile.blocks + pixels) / core.loads_per_cycle
    sums = max(tile.sums / core.fma_per_cycle, float(core.fma_cycles))
    return max(sums, loads) + LOAD_SHARE * loads


def fits(core: Core, tile: Tile) -> bool:
    """Whether sums and operands stay in registers.

    LLVM loads every operand that is used twice before it multiplies; with one block of weights each
    pixel is used once, and x86 multiplies it from memory.
    """
    pixels = tile.rows * tile.columns
    operands = 3 if tile.blocks == 1 or pixels == 1 else tile.blocks + pixels
    return tile.sums + operands <= core.registers


def register_tile(core: Core, blocks: int, rows: int, columns: int) -> Tile:
    """Return the tile that takes the fewest cycles for an output of this shape."""
    best, found = float("inf"), Tile(1, 1, 1)
    most = MOST_BLOCKS if rows * columns > 1 else core.registers // 2
    for b in (size for size in range(1, most + 1) if blocks % size == 0):
        for r in (size for size in range(1, 5) if rows % size == 0):
            for c in range(1, columns + 1):
                tile = Tile(b, r, c)
                if not fits(core, tile):
                    break
                steps = blocks // b * (rows // r) * -(-columns // c)
                taken = steps * cycles(core, tile) * (1 if r == 1 else ROWS)
                if taken < best * (1 - 1e-9):
                    best, found = taken, tile
    return found


def line_tile(core: Core, columns: int) -> Tile:
    """Return a tile for what reads each input once, in lines that divide `columns` if they can."""
    most = core.registers - 4
    dividing = max(size for size in range(1, most + 1) if columns % size == 0)
    if dividing >= min(6, columns):
        return Tile(1, 1, dividing)
    return Tile(1, 1, min(range(most // 2, most + 1), key=lambda size: -columns % size))


def row_chunk(core: Core, tile: Tile, rows: int, row_bytes: int, weight_bytes: int) -> int:
    """Return how many output rows to finish before the next ones are begun.

    All of them, unless what they read (`row_bytes` each) leaves the second cache while weights
    could stay there.
    """
    cache = core.l2_kb * 1024 / 2
    if rows * row_bytes <= cache or weight_bytes > cache:
        return rows
    sizes = [size for size in range(tile.rows, rows + 1, tile.rows) if rows % size == 0]
    shared = [size for size in sizes if rows // size >= min(CORES, rows // tile.rows)]
    return max((size for size in shared if size * row_bytes <= cache / 2), default=tile.rows)
