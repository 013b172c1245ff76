"""A convolution in blocks: sums in registers, channels as vectors, what follows done on the tile."""

from __future__ import annotations

from typing import Any

from targets.tvm.compute.convolution import CHUNK, TILE
from targets.tvm.schedules.body import Body


def schedule_convolution(body: Body, sums: Any) -> None:
    """`sums` is the block that adds up; everything behind it is computed on its tile."""
    schedule = body.schedule
    tile = [int(size) for size in body.annotation(sums, TILE)]
    chunk = int(body.annotation(sums, CHUNK)) // tile[1]
    first, last = body.before(sums), body.inline_after(sums)
    batch, block, row, column, lane, *over = schedule.get_loops(sums)
    blocks, inner_block = schedule.split(block, [None, tile[0]])
    chunks, rows, inner_row = schedule.split(row, [None, chunk, tile[1]])
    columns, inner_column = schedule.split(column, [None, tile[2]])
    inner = [inner_block, inner_row, inner_column]
    schedule.reorder(batch, chunks, blocks, rows, columns, *over, *inner, lane)
    if last is None:
        last = schedule.cache_write(sums, 0, "local")
    else:
        schedule.set_scope(sums, 0, "local")
    schedule.reverse_compute_at(last, columns, preserve_unit_loops=True)
    body.unrolled([*inner, lane])
    whole = int(schedule.get(chunks).extent) == 1
    if whole:
        schedule.parallel(schedule.fuse(batch, chunks, blocks, rows))  # before decompose_reduction
    else:
        outer = schedule.fuse(batch, chunks)
        schedule.parallel(outer)
    for padded in first:
        if whole:
            body.injective(padded)
        else:
            body.copied_at(padded, outer)
    start = schedule.decompose_reduction(sums, over[0])
    body.unrolled(schedule.get_loops(start)[-4:])
    body.unrolled(schedule.get_loops(last)[-4:])
