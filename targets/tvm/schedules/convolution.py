"""A convolution in blocks: sums in registers, channels as vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from targets.tvm.compute.convolution import CHUNK, TILE
from targets.tvm.schedules.body import Body


@dataclass(frozen=True)
class Loops:
    """The loops of a convolution in their order, outermost first."""

    batch: Any
    chunks: Any
    blocks: Any
    rows: Any
    columns: Any
    over: list[Any]
    """Input blocks, taps, input lanes: what is summed."""
    tile: list[Any]
    """Blocks, rows, columns and lanes of the sums in registers."""


def schedule_convolution(body: Body, sums: Any) -> None:
    """`sums` is the block that adds up; everything behind it is computed on its tile."""
    schedule = body.schedule
    first = body.before(sums)
    loops = ordered(body, sums, int(body.annotation(sums, CHUNK)))
    last = finished_on(body, sums, loops)
    whole = int(schedule.get(loops.chunks).extent) == 1
    if whole:  # loops are shared before decompose_reduction
        outer = schedule.fuse(loops.batch, loops.chunks, loops.blocks, loops.rows)
        body.shared(outer, sums)
        for padded in first:
            body.injective(padded)
    else:
        outer = schedule.fuse(loops.batch, loops.chunks)
        body.shared(outer, sums)
        for padded in first:
            body.copied_at(padded, outer)
    in_registers(body, sums, loops, last)


def ordered(body: Body, sums: Any, chunk: int) -> Loops:
    """Tile the loops of `sums`, `chunk` rows at once."""
    schedule = body.schedule
    tile = [int(size) for size in body.annotation(sums, TILE)]
    batch, block, row, column, lane, *over = schedule.get_loops(sums)
    blocks, inner_block = schedule.split(block, [None, tile[0]])
    chunks, rows, inner_row = schedule.split(row, [None, chunk // tile[1], tile[1]])
    columns, inner_column = schedule.split(column, [None, tile[2]])
    inner = [inner_block, inner_row, inner_column, lane]
    schedule.reorder(batch, chunks, blocks, rows, columns, *over, *inner)
    return Loops(batch, chunks, blocks, rows, columns, over, inner)


def finished_on(body: Body, sums: Any, loops: Loops) -> Any:
    """Compute what follows `sums` on its tile; return the block that writes the result."""
    schedule = body.schedule
    last = body.inline_after(sums)
    if last is not None and body.is_wider(last, sums):
        body.injective(last)  # each sum is spread over a map: that is another loop nest
        last = None
    if last is None:
        last = schedule.cache_write(sums, 0, "local")
    else:
        schedule.set_scope(sums, 0, "local")
    schedule.reverse_compute_at(last, loops.columns, preserve_unit_loops=True)
    return last


def in_registers(body: Body, sums: Any, loops: Loops, last: Any) -> None:
    """Unroll the tile, from its zeros to its result."""
    schedule = body.schedule
    body.unrolled(loops.tile)
    start = schedule.decompose_reduction(sums, loops.over[0])
    body.unrolled(schedule.get_loops(start)[-4:])
    body.unrolled(schedule.get_loops(last)[-4:])
