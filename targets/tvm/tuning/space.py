"""What can be tuned: the tile and the rows at once that a function's sums are computed with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgecc.target import Core
from targets.tvm.compute.convolution import CHUNK, KIND, TILE
from targets.tvm.schedules.body import Body
from targets.tvm.schedules.tile import Tile, cycles, fits

MOST_BLOCKS, MOST_ROWS = 16, 8
FARTHER = 0.05
"""What a chunk of twice or half as many rows has to win, to be tried before a tile of its own."""


@dataclass(frozen=True)
class Choice:
    """One way to compute a function."""

    tile: tuple[int, int, int]
    """Blocks, rows and columns of the sums in registers."""
    chunk: int
    """Rows that are finished before the next ones are begun."""


def own_choice(function: Any, core: Core) -> Choice | None:
    """Return what the analytic model chose, None where there is nothing to choose."""
    body = Body(function, core)
    sums = _sums(body)
    return None if sums is None else _choice(body, sums)


def choices(function: Any, core: Core) -> list[Choice]:
    """Return every choice but our own that divides the loops and fits the registers.

    Those that the model of the core expects most of come first.
    """
    body = Body(function, core)
    sums = _sums(body)
    if sums is None:
        return []
    own = _choice(body, sums)
    blocks, rows, columns = _extents(body, sums)
    found = []
    for tile in _tiles(core, blocks, rows, columns):
        steps = blocks // tile.blocks * (rows // tile.rows) * (columns // tile.columns)
        for chunk in _chunks(body, own, rows, tile.rows):
            far = 1 + FARTHER * abs(math.log2(chunk / own.chunk))
            choice = Choice((tile.blocks, tile.rows, tile.columns), chunk)
            found.append((steps * cycles(core, tile) * far, choice.tile, choice.chunk, choice))
    return [choice for *_, choice in sorted(found, key=lambda item: item[:3]) if choice != own]


def with_choice(function: Any, core: Core, choice: Choice) -> Any:
    """Return `function`, not yet scheduled, to be computed in that way."""
    body = Body(function, core)
    sums = _sums(body)
    for key, value in ((TILE, list(choice.tile)), (CHUNK, choice.chunk)):
        body.schedule.unannotate(sums, key)
        body.schedule.annotate(sums, key, value)
    return body.schedule.mod["main"]


def _sums(body: Body) -> Any | None:
    """Return the block that is tiled: in a pair the pointwise one, which does most of the work."""
    anchors = [block for block in body.blocks() if body.annotation(block, KIND) is not None]
    return anchors[-1] if anchors else None


def _choice(body: Body, sums: Any) -> Choice:
    blocks, rows, columns = (int(size) for size in body.annotation(sums, TILE))
    return Choice((blocks, rows, columns), int(body.annotation(sums, CHUNK)))


def _extents(body: Body, sums: Any) -> tuple[int, int, int]:
    """Return the extents of the loops over blocks, rows and columns."""
    loops = [int(body.schedule.get(loop).extent) for loop in body.schedule.get_loops(sums)]
    if str(body.annotation(sums, KIND)) == "winograd":
        _, rows, _, blocks, columns, *_ = loops
        return blocks, rows, columns
    _, blocks, rows, columns, *_ = loops
    return blocks, rows, columns


def _tiles(core: Core, blocks: int, rows: int, columns: int) -> list[Tile]:
    tiles = [
        Tile(b, r, c)
        for b in _divisors(blocks, MOST_BLOCKS)
        for r in _divisors(rows, MOST_ROWS)
        for c in _divisors(columns, core.registers)
    ]
    return [tile for tile in tiles if fits(core, tile)]


def _chunks(body: Body, own: Choice, rows: int, at_once: int) -> list[int]:
    """Return the chunks that hold whole tiles; a pair finds its own once it is scheduled."""
    pair = sum(body.annotation(block, KIND) is not None for block in body.blocks()) > 1
    sizes = [own.chunk] if pair else _divisors(rows, rows)
    return [size for size in sizes if size % at_once == 0]


def _divisors(extent: int, most: int) -> list[int]:
    return [size for size in range(1, min(extent, most) + 1) if extent % size == 0]
