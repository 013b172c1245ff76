"""Pooling over channels in blocks, (N, blocks, H, W, lanes)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecc.target import Core
from targets.tvm.compute.convolution import SUMS, attributes, cropped, row_bytes
from targets.tvm.compute.window import Window
from targets.tvm.schedules.tile import Tile, line_tile, row_chunk


def pooled(
    x: Any,
    *counts: Any,
    window: Window,
    outputs: tuple[int, int],
    how: Literal["max", "sum"],
    core: Core,
) -> Any:
    """The largest or the sum of each window; a sum is multiplied by `counts` (OH, OW) if given."""
    from tvm import te

    rows, columns = outputs
    blocks = int(x.shape[1])
    tile = _tile(core, blocks, rows, columns)
    made = -(-columns // tile.columns) * tile.columns
    chunk = row_chunk(core, tile, rows, row_bytes(x, window), 0)
    least = float(np.finfo(np.float32).min)
    source = window.padded(x, rows, made, least if how == "max" else 0.0)
    (down, along), (below, aside) = window.strides, window.dilations
    r, s = te.reduce_axis((0, window.taps[0]), "r"), te.reduce_axis((0, window.taps[1]), "s")
    reduced = te.max if how == "max" else te.sum

    def body(n: Any, o: Any, y: Any, z: Any, c: Any) -> Any:
        return reduced(source[n, o, y * down + r * below, z * along + s * aside, c], axis=[r, s])

    shape = (x.shape[0], blocks, rows, made, x.shape[4])
    found = te.compute(shape, body, name=SUMS, attrs=attributes(tile, "pool", chunk))
    if not counts:
        return cropped(found, columns)
    shape = (*shape[:3], columns, x.shape[4])
    return te.compute(shape, lambda n, o, y, z, c: found[n, o, y, z, c] * counts[0][y, z])


def _tile(core: Core, blocks: int, rows: int, columns: int) -> Tile:
    if columns > 1:
        return line_tile(core, columns)
    block, row = (
        max(size for size in (8, 4, 2, 1) if extent % size == 0) for extent in (blocks, rows)
    )
    return Tile(1, row, 1) if row > block else Tile(block, 1, 1)


def shares(
    window: Window, sizes: tuple[int, int], outputs: tuple[int, int], *, padding: bool
) -> npt.NDArray[np.float32]:
    """Return 1 / (numbers in each window), (OH, OW); `padding` counts what lies there too."""
    counts = []
    for axis in (0, 1):
        before, after = window.pads[axis], window.pads[axis + 2]
        starts = np.arange(outputs[axis]) * window.strides[axis] - before
        taps = np.arange(window.taps[axis]) * window.dilations[axis]
        at = starts[:, None] + taps
        low, high = (-before, sizes[axis] + after) if padding else (0, sizes[axis])
        counts.append(((at >= low) & (at < high)).sum(axis=1))
    found: npt.NDArray[np.float32] = (1 / np.outer(*counts)).astype(np.float32)
    return found
