"""Winograd's convolution by rows of tiles: what a chunk needs stays in the cache.

For each chunk: its tiles are transformed, multiplied point by point (a matrix product for each of
the points, sums in registers), transformed back and finished with what follows the convolution.
"""

from __future__ import annotations

from typing import Any

from targets.tvm.compute.convolution import CHUNK, TILE
from targets.tvm.compute.winograd import OUTPUTS, TRANSFORM
from targets.tvm.schedules.body import Body


def schedule_winograd(body: Body, products: Any) -> None:
    """`products` is the block that multiplies, its annotations hold the tile and the chunk."""
    schedule = body.schedule
    named = {body.name(block): block for block in body.blocks()}
    columns, tiles, rows = (named[TRANSFORM[i]] for i in (0, 1, 3))
    first = body.before(columns)
    last = body.inline_after(rows)
    tile = [int(size) for size in body.annotation(products, TILE)]
    chunk = int(body.annotation(products, CHUNK))
    m, q = (int(size) for size in body.annotation(products, OUTPUTS))

    batch, block, y, z, lane = schedule.get_loops(last)
    chunks, high, inner_y = schedule.split(y, [None, chunk, m])
    wide, inner_z = schedule.split(z, [None, q])
    schedule.reorder(batch, chunks, block, high, wide, inner_y, inner_z, lane)
    schedule.compute_at(rows, wide, preserve_unit_loops=True)
    schedule.set_scope(rows, 0, "local")
    body.unrolled([inner_y, inner_z, lane])
    body.unrolled(schedule.get_loops(rows)[-3:])

    whole = int(schedule.get(chunks).extent) * int(schedule.get(batch).extent) == 1
    if not whole:
        schedule.compute_at(products, chunks, preserve_unit_loops=True)
        schedule.compute_at(tiles, chunks, preserve_unit_loops=True)
    *_, row, point, input_block, column, input_lane = schedule.get_loops(tiles)
    schedule.reorder(row, input_block, column, point, input_lane)
    schedule.compute_at(columns, column, preserve_unit_loops=True)
    schedule.set_scope(columns, 0, "local")
    body.unrolled([point, input_lane])
    body.unrolled(schedule.get_loops(columns)[-3:])

    if whole:
        body.shared(schedule.fuse(batch, chunks, block, high), last)
        body.shared(schedule.fuse(*schedule.get_loops(tiles)[:3]), tiles)
    else:
        outer = schedule.fuse(batch, chunks)
        body.shared(outer, products)
    _products(body, products, tile, alone=whole)
    for padded in first:
        if whole:
            body.injective(padded)
        else:
            body.copied_at(padded, outer)


def _products(body: Body, products: Any, tile: list[int], *, alone: bool) -> None:
    schedule = body.schedule
    *_, row, point, block, column, lane, i, k = schedule.get_loops(products)
    blocks, inner_block = schedule.split(block, [None, tile[0]])
    rows, inner_row = schedule.split(row, [None, tile[1]])
    columns, inner_column = schedule.split(column, [None, tile[2]])
    inner = [inner_block, inner_row, inner_column]
    schedule.reorder(point, blocks, rows, columns, i, k, *inner, lane)
    made = schedule.cache_write(products, 0, "local")
    schedule.reverse_compute_at(made, columns, preserve_unit_loops=True)
    body.unrolled([*inner, lane])
    if alone:
        body.shared(schedule.fuse(point, blocks), products)
    start = schedule.decompose_reduction(products, i)
    body.unrolled(schedule.get_loops(start)[-4:])
    body.unrolled(schedule.get_loops(made)[-6:])
