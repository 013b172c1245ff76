"""The sweep's own parts: which tiles there are, when choices are good enough."""

from __future__ import annotations

import pytest

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'edgecc[arm]'")

from kernels import Shape
from tile_sweep import Row, all_forms, all_tiles, form_name, is_good, tile_name

from edgecc.target import Core
from targets.tvm.schedules.tile import Tile, fits, register_tile

CORE = Core(
    lanes=8, registers=16, l1_kb=32, l2_kb=1024, fma_per_cycle=2, loads_per_cycle=2, fma_cycles=4
)


def row(share: float) -> Row:
    return Row("s", "1x1x1", share, "1x1x2", 1.0, 2)


def test_the_chosen_tile_is_among_all_that_fit() -> None:
    tiles = list(all_tiles(CORE, 8, 28))
    assert len(set(tiles)) == len(tiles) > 20
    assert all(fits(CORE, tile) for tile in tiles)
    assert register_tile(CORE, 8, 28, 28) in tiles
    assert Tile(1, 1, 13) in tiles
    assert Tile(1, 1, 14) not in tiles


def test_forms_divide_the_rows() -> None:
    forms = list(all_forms(CORE, Shape(64, 64, 28)))
    assert {form.chunk for form in forms if form.outputs == (4, 4)} == {1, 7}
    assert {form.chunk for form in forms if form.outputs == (2, 2)} == {1, 2, 7, 14}
    assert form_name(forms[0]) == "F(4x4), 1 rows"
    assert form_name(None) == "direct"
    assert tile_name(Tile(2, 1, 4)) == "2x1x4"


def test_flops_and_name() -> None:
    shape = Shape(64, 32, 28, (3, 1))
    assert shape.flops == 2 * 64 * 32 * 28 * 28 * 3
    assert str(shape) == "64->32 3x1 at 28x28"
    assert shape.window.outputs(28, 28) == (28, 28)


@pytest.mark.parametrize(
    ("shares", "good"), [((0.95, 0.9), True), ((0.95, 0.79), False), ((0.89, 0.89), False)]
)
def test_limit(shares: tuple[float, ...], good: bool) -> None:
    assert is_good([row(share) for share in shares]) is good
