"""Convolutions of 3x3, 3x1 and 1x3 by Winograd's minimal filtering, over channels in blocks.

Paper: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.
F(m x m, 3 x 3) computes m x m outputs from (m + 2)^2 products for each pair of channels, where the
sum over the window takes 9 m^2: 2.25 times fewer for m = 2, 4 times fewer for m = 4. Along
one axis, F(m, 3) computes m outputs from m + 2 products in place of 3 m.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from targets.tvm.compute.convolution import attributes
from targets.tvm.compute.window import Window
from targets.tvm.schedules.tile import Tile

TRANSFORM = "winograd_columns", "winograd_tiles", "winograd_products", "winograd_rows"
OUTPUTS = "edgecc.outputs"

# B^T (of the data), G (of the weights), A^T (of the products); points 0, 1, -1 (, 2, -2), infinity.
_DATA = {
    1: [[1]],
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
}
_WEIGHTS = {
    1: [[1]],
    2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    4: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}
_PRODUCTS = {
    1: [[1]],
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
}


@dataclass(frozen=True)
class Form:
    """How one convolution is computed."""

    outputs: tuple[int, int]
    """m along height and width; 1 where the window has one tap."""
    chunk: int
    """Rows of tiles that are transformed at once."""
    tile: Tile
    """Products in registers, columns counted in tiles."""


def points(outputs: int) -> int:
    """Return how many products along one axis make m outputs."""
    return len(_DATA[outputs])


def transformed_weights(w: npt.NDArray[Any], outputs: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return (out blocks, in blocks, KH, KW, in lanes, out lanes) as (points, out blocks,
    in blocks, in lanes, out lanes)."""
    down, along = (np.array(_WEIGHTS[m]) for m in outputs)
    found = np.einsum("ar,bs,oirskc->aboikc", down, along, w.astype(np.float64))
    whole: npt.NDArray[np.float32] = found.reshape(-1, *found.shape[2:]).astype(np.float32)
    return whole


def winograd(x: Any, u: Any, *, window: Window, groups: int, form: Form) -> Any:
    """A convolution of stride 1: data (N, in blocks, H, W, lanes), weights as transformed."""
    from tvm import te

    (m, q), chunk, tile = form.outputs, form.chunk, form.tile
    p_m, p_q = points(m), points(q)
    batch, held, height, width, within = (int(size) for size in x.shape)
    _, blocks, inputs, _, lanes = (int(size) for size in u.shape)
    rows, columns = window.outputs(height, width)
    high, wide = -(-rows // (m * chunk)) * chunk, -(-columns // (q * tile.columns)) * tile.columns
    source = window.padded(x, high * m, wide * q)

    def down(n: Any, o: Any, y: Any, z: Any, i: Any, b: Any, k: Any) -> Any:
        return _row(_DATA[m], i, lambda a: source[n, o, y * m + a, z * q + b, k])

    first = te.compute((batch, held, high, wide, p_m, p_q, within), down, name=TRANSFORM[0])

    def along(n: Any, y: Any, p: Any, o: Any, z: Any, k: Any) -> Any:
        return _row(_DATA[q], p % p_q, lambda b: first[n, o, y, z, p // p_q, b, k])

    tiles = te.compute((batch, high, p_m * p_q, held, wide, within), along, name=TRANSFORM[1])
    o, k = te.reduce_axis((0, inputs), "i"), te.reduce_axis((0, within), "k")

    def multiplied(n: Any, y: Any, p: Any, b: Any, z: Any, c: Any) -> Any:
        block = o if groups == 1 else b // (blocks // groups) * inputs + o
        return te.sum(tiles[n, y, p, block, z, k] * u[p, b, o, k, c], axis=[o, k])

    attrs = {**attributes(tile, "winograd", chunk), OUTPUTS: [m, q]}
    shape = (batch, high, p_m * p_q, blocks, wide, lanes)
    made = te.compute(shape, multiplied, name=TRANSFORM[2], attrs=attrs)

    def up(n: Any, b: Any, y: Any, z: Any, v: Any, j: Any, c: Any) -> Any:
        return _row(_PRODUCTS[m], v, lambda i: made[n, y, i * p_q + j, b, z, c])

    last = te.compute((batch, blocks, high, wide, m, p_q, lanes), up, name=TRANSFORM[3])

    def across(n: Any, b: Any, y: Any, z: Any, c: Any) -> Any:
        return _row(_PRODUCTS[q], z % q, lambda j: last[n, b, y // m, z // q, y % m, j, c])

    return te.compute((batch, blocks, rows, columns, lanes), across, name="winograd")


def _row(matrix: Any, row: Any, value: Any) -> Any:
    """Return the product of one `row` of `matrix` (known once loops are unrolled) with a vector.

    Even and odd entries are added apart: rows that differ in the sign of one of them share both.
    """
    from tvm import tirx

    sums = [_signed(entries, value) for entries in matrix]
    found = sums[-1]
    for number in reversed(range(len(sums) - 1)):
        found = tirx.Select(row == number, sums[number], found)
    return found


def _signed(entries: Any, value: Any) -> Any:
    parts = []
    for start in (0, 1):
        terms = [(i, float(entries[i])) for i in range(start, len(entries), 2) if entries[i]]
        if terms:
            sign = 1.0 if terms[-1][1] > 0 else -1.0
            parts.append((sign, _total([(i, sign * factor) for i, factor in terms], value)))
    (sign, total), *others = sorted(parts, key=lambda part: -part[0])
    for other_sign, other in others:
        total = total + other if other_sign == sign else total - other
    return total if sign > 0 else -total


def _total(terms: list[tuple[int, float]], value: Any) -> Any:
    total = None
    for i, factor in terms:
        term = value(i) if factor == 1 else value(i) * factor
        total = term if total is None else total + term
    return total
