"""A convolution in blocks: sums in registers, channels as vectors, what follows done on the tile."""

from __future__ import annotations

from typing import Any

from targets.tvm.compute.convolution import TILE
from targets.tvm.schedules.body import Body


def schedule_convolution(body: Body, sums: Any) -> None:
    """`sums` is the block that adds up; everything behind it is computed on its tile."""
    schedule = body.schedule
    tile = [int(size) for size in schedule.get(sums).annotations[TILE]]
    first, last = body.before(sums), body.inline_after(sums)
    batch, block, row, column, lane, *over = schedule.get_loops(sums)
    blocks, inner_block = schedule.split(block, [None, tile[0]])
    rows, inner_row = schedule.split(row, [None, tile[1]])
    columns, inner_column = schedule.split(column, [None, tile[2]])
    inner = [inner_block, inner_row, inner_column]
    schedule.reorder(batch, blocks, rows, columns, *over, *inner, lane)
    if last is None:
        last = schedule.cache_write(sums, 0, "local")
    else:
        schedule.set_scope(sums, 0, "local")
    schedule.reverse_compute_at(last, columns)
    body.unrolled([*inner, lane])
    schedule.parallel(schedule.fuse(batch, blocks, rows))  # before decompose_reduction
    start = schedule.decompose_reduction(sums, over[0])
    body.unrolled(schedule.get_loops(start)[2:])
    body.unrolled(schedule.get_loops(last)[2:])
    for block in first:
        body.injective(block)
