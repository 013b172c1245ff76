"""Convolutions over channels in blocks.

Shapes: data (N, blocks, H, W, lanes) or (N, C, H, W), which is one channel a block; weights
(out blocks, in blocks, KH, KW, in lanes, out lanes); result (N, out blocks, OH, OW, out lanes).
"""

from __future__ import annotations

import math
from typing import Any

from edgecc.target import Core
from targets.tvm.compute.window import Window
from targets.tvm.schedules.tile import Tile, line_tile, register_tile, row_chunk

SUMS = "sums"
KIND, TILE, CHUNK = "edgecc.kind", "edgecc.tile", "edgecc.chunk"
CROPPED = "cropped"


def dense(x: Any, w: Any, *, window: Window, groups: int, core: Core) -> Any:
    """A convolution whose groups make whole blocks of outputs (or one group)."""
    from tvm import te

    batch, height, width = (int(x.shape[i]) for i in (0, 2, 3))
    blocks, inputs, high, wide, within, lanes = (int(size) for size in w.shape)
    rows, columns = window.outputs(height, width)
    each = blocks // groups
    tile = register_tile(core, each, rows, columns)
    made = -(-columns // tile.columns) * tile.columns
    weight_bytes = math.prod(int(size) for size in w.shape) * 4
    chunk = row_chunk(core, tile, rows, row_bytes(x, window), weight_bytes)
    source = window.padded(x, rows, made)
    (down, along), (below, aside) = window.strides, window.dilations
    i, r, s, k = (
        te.reduce_axis((0, n), a)
        for n, a in ((inputs, "i"), (high, "r"), (wide, "s"), (within, "k"))
    )

    held = int(x.shape[4]) if len(x.shape) == 5 else 1

    def body(n: Any, o: Any, y: Any, z: Any, c: Any) -> Any:
        block, lane = i, k
        if groups > 1 and within == held:
            block = o // each * inputs + i
        elif groups > 1:
            slot = o // each * (inputs * within) + i * within
            block, lane = slot // held, slot % held + k
        at = (n, block, y * down + r * below, z * along + s * aside)
        data = source[(*at, lane)] if len(x.shape) == 5 else source[at]
        return te.sum(data * w[o, i, r, s, k, c], axis=[i, r, s, k])

    kind = "pointwise" if window.pointwise and window.strides == (1, 1) else "dense"
    shape = (batch, blocks, rows, made, lanes)
    sums = te.compute(shape, body, name=SUMS, attrs=attributes(tile, kind, chunk))
    return cropped(sums, columns)


def on_lanes(x: Any, w: Any, *, window: Window, core: Core) -> Any:
    """A convolution that has a group on each lane: every input number meets weights of its own.

    `w` is (outputs a group, inputs a group, group blocks, KH, KW, lanes); data and result have
    blocks (inputs a group x group blocks) and (outputs a group x group blocks).
    """
    from tvm import te

    batch, height, width = (int(x.shape[i]) for i in (0, 2, 3))
    outputs, inputs, blocks, high, wide, lanes = (int(size) for size in w.shape)
    rows, columns = window.outputs(height, width)
    tile = line_tile(core, columns)
    made = -(-columns // tile.columns) * tile.columns
    chunk = row_chunk(core, tile, rows, row_bytes(x, window), 0)
    source = window.padded(x, rows, made)
    (down, along), (below, aside) = window.strides, window.dilations
    i, r, s = (te.reduce_axis((0, n), a) for n, a in ((inputs, "i"), (high, "r"), (wide, "s")))

    def body(n: Any, o: Any, y: Any, z: Any, c: Any) -> Any:
        block = o if outputs == 1 else o % blocks
        made_by = 0 if outputs == 1 else o // blocks
        at = block if inputs == 1 else i * blocks + block
        data = source[n, at, y * down + r * below, z * along + s * aside, c]
        return te.sum(data * w[made_by, i, block, r, s, c], axis=[i, r, s])

    shape = (batch, outputs * blocks, rows, made, lanes)
    sums = te.compute(shape, body, name=SUMS, attrs=attributes(tile, "on_lanes", chunk))
    return cropped(sums, columns)


def cropped(sums: Any, columns: int) -> Any:
    """Return the first `columns` of what was computed in whole tiles."""
    from tvm import te

    if int(sums.shape[3]) == columns:
        return sums
    shape = [*sums.shape[:3], columns, sums.shape[4]]
    return te.compute(shape, lambda *at: sums(*at), name=CROPPED)


def attributes(tile: Tile, kind: str, chunk: int) -> dict[str, Any]:
    """Return what tells the schedule its kind, its tile, and the rows to compute at once."""
    return {KIND: kind, TILE: [tile.blocks, tile.rows, tile.columns], CHUNK: chunk}


def row_bytes(x: Any, window: Window) -> int:
    """Return the bytes that a row of outputs reads for itself."""
    size = window.strides[0] * math.prod(int(n) for n in x.shape[3:]) * int(x.shape[1])
    return size * int(x.shape[0]) * 4
