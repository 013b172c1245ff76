"""A depthwise convolution and the pointwise one behind it, row by row."""

from __future__ import annotations

from typing import Any

from targets.tvm.compute.convolution import TILE
from targets.tvm.schedules.body import Body
from targets.tvm.schedules.convolution import finished_on, in_registers, ordered
from targets.tvm.schedules.tile import CORES


def schedule_pair(body: Body, single: Any, sums: Any) -> None:
    """`single` is the depthwise block that adds up, `sums` the pointwise one."""
    schedule = body.schedule
    first = body.before(single)
    between = body.before(sums)[len(first) + 1 :]
    for block in between[:-1]:
        schedule.compute_inline(block)
    if between:
        schedule.set_scope(single, 0, "local")
    made = between[-1] if between else schedule.cache_write(single, 0, "local")
    loops = ordered(body, sums, _chunk(body, made, sums))
    last = finished_on(body, sums, loops)
    outer = schedule.fuse(loops.batch, loops.chunks)
    schedule.parallel(outer)
    made = made if between else body.consumer(single)
    _lines(body, single, made, outer)
    for padded in first:
        body.copied_at(padded, outer)
    in_registers(body, sums, loops, last)


def _chunk(body: Body, made: Any, sums: Any) -> int:
    """Return how many rows of what lies between are kept: a quarter of the second cache."""
    _, blocks, rows, columns, lanes, *_ = (
        int(body.schedule.get(loop).extent) for loop in body.schedule.get_loops(made)
    )
    least = int(body.annotation(sums, TILE)[1])
    fitting = body.core.l2_kb * 256 // (blocks * columns * lanes * 4)
    sizes = [size for size in range(least, rows + 1, least) if rows % size == 0]
    shared = [size for size in sizes if size <= fitting and rows // size >= min(CORES, rows)]
    return max(shared, default=least)


def _lines(body: Body, single: Any, made: Any, outer: Any) -> None:
    """Compute the depthwise convolution at `outer`, line by line."""
    schedule = body.schedule
    columns = int(body.annotation(single, TILE)[2])
    schedule.compute_at(made, outer, preserve_unit_loops=True)
    *_, column, lane = schedule.get_loops(made)
    line, inner = schedule.split(column, [None, columns])
    schedule.compute_at(single, line, preserve_unit_loops=True)
    *_, column, single_lane, i, r, s = schedule.get_loops(single)
    schedule.reorder(i, r, s, column, single_lane)
    body.unrolled([column, single_lane])
    body.unrolled([inner, lane])
    start = schedule.decompose_reduction(single, i)
    body.unrolled(schedule.get_loops(start)[-2:])
