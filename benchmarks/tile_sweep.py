"""The choices that edgecc computes, beside measuring everything: register tiles, Winograd's forms.

    python benchmarks/tile_sweep.py [--only tiles winograd] [--rounds 9] [--json FILE] [--limit]

Every tile that fits in the registers is compiled and run in turns with the others; the chosen one
and the best ones then run in turns again, longer, so that the best is not merely the luckiest. The
share is the time of the best over that of the chosen one. `--limit` exits with 1 where the
geometric mean of the shares is below 0.9, or one of them below 0.8.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from engines import with_tvm_threads
from kernels import Kernels, Run, Shape, medians
from ratios import geometric_mean, table_head, table_row

from edgecc import catalog
from edgecc.target import Core
from targets.tvm.compute.winograd import Form
from targets.tvm.schedules.minimal import SHAPES, winograd_form
from targets.tvm.schedules.tile import Tile, fits, register_tile

MEAN, WORST = 0.9, 0.8
FINALISTS = 6
ONE = (1, 1)
SIZES = ((64, 56), (128, 28), (256, 14), (512, 7))
TILES = [
    *(Shape(n, n, s) for n, s in SIZES),
    *(Shape(n, n, s, ONE) for n, s in SIZES),
    Shape(64, 256, 56, ONE), Shape(512, 128, 28, ONE), Shape(96, 96, 28), Shape(32, 32, 112),
]  # fmt: skip
WINOGRAD = [
    *(Shape(n, n, s) for n, s in SIZES),
    Shape(16, 16, 32), Shape(64, 64, 16), Shape(32, 32, 112), Shape(64, 64, 128),
    Shape(64, 64, 56, (3, 1)), Shape(128, 128, 28, (1, 3)), Shape(256, 256, 14, (3, 1)),
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One shape."""

    shape: str
    chosen: str
    chosen_gflops: float
    best: str
    best_gflops: float
    tried: int

    @property
    def share(self) -> float:
        """Of the best one's speed."""
        return self.chosen_gflops / self.best_gflops

    def __str__(self) -> str:
        cells = (self.shape, self.chosen, f"{self.chosen_gflops:.1f}", self.best)
        return table_row([*cells, f"{self.best_gflops:.1f}", f"{self.share:.2f}", self.tried])


def main() -> None:
    """Print a table for each choice."""
    parser = argparse.ArgumentParser(description="Computed choices beside measured ones.")
    parser.add_argument("--only", nargs="*", default=["tiles", "winograd"])
    parser.add_argument("--rounds", type=int, default=9, help="turns of the sweep")
    parser.add_argument("--json", type=Path, help="the rows, as numbers")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where a choice is bad")
    arguments = parser.parse_args()
    with_tvm_threads(1)
    kernels = Kernels(catalog.target("host"))
    print(f"{kernels.core}\n")
    made: dict[str, list[Row]] = {}
    for name, shapes, row in (("tiles", TILES, tile_row), ("winograd", WINOGRAD, winograd_row)):
        if name in arguments.only:
            print(table_head((name, "chosen", "GFLOP/s", "best", "GFLOP/s", "share", "tried")))
            made[name] = []
            for shape in shapes:
                made[name].append(row(kernels, shape, arguments.rounds))
                print(made[name][-1], flush=True)
            shares = [found.share for found in made[name]]
            print(f"\ngeometric mean {geometric_mean(shares):.3f}, worst {min(shares):.2f}\n")
    if arguments.json:
        rows = {name: [asdict(row) for row in found] for name, found in made.items()}
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    if arguments.limit and not all(map(is_good, made.values())):
        sys.exit(1)


def is_good(rows: list[Row]) -> bool:
    """Whether choices are near enough to the best."""
    shares = [row.share for row in rows]
    return geometric_mean(shares) >= MEAN and min(shares) >= WORST


def tile_row(kernels: Kernels, shape: Shape, rounds: int) -> Row:
    """Sweep the tiles of one shape."""
    blocks = shape.outputs // kernels.core.lanes
    runs = {
        tile: kernels.direct(shape, tile) for tile in all_tiles(kernels.core, blocks, shape.size)
    }
    chosen = register_tile(kernels.core, blocks, shape.size, shape.size)
    return _row(shape, chosen, runs, {tile: tile_name(tile) for tile in runs}, rounds)


def all_tiles(core: Core, blocks: int, size: int) -> Iterable[Tile]:
    """Every tile of a map of `size` x `size` that fits in the registers."""
    for b in (count for count in range(1, blocks + 1) if blocks % count == 0):
        for r in (count for count in range(1, 5) if size % count == 0):
            yield from (t for c in range(1, size + 1) if fits(core, t := Tile(b, r, c)))


def winograd_row(kernels: Kernels, shape: Shape, rounds: int) -> Row:
    """Sweep the forms of one shape, the sum over the window among them."""
    blocks, core = shape.outputs // kernels.core.lanes, kernels.core
    forms = list(all_forms(core, shape))
    tile = register_tile(core, blocks, shape.size, shape.size)
    runs: dict[Form | None, Run] = {form: kernels.winograd(shape, form) for form in forms}
    runs[None] = kernels.direct(shape, tile)
    outputs = (shape.size, shape.size)
    chosen = winograd_form(core, shape.window, 1, shape.inputs, blocks, outputs)
    return _row(shape, chosen, runs, {form: form_name(form) for form in runs}, rounds)


def all_forms(core: Core, shape: Shape) -> Iterable[Form]:
    """Every m and every number of rows of tiles at once, with the tile that edgecc computes."""
    blocks = shape.outputs // core.lanes
    for m, q in SHAPES[shape.taps]:
        high, wide = -(-shape.size // m), -(-shape.size // q)
        for chunk in (size for size in range(1, high + 1) if high % size == 0):
            yield Form((m, q), chunk, register_tile(core, blocks, chunk, wide))


def tile_name(tile: Tile) -> str:
    """Blocks x rows x columns."""
    return f"{tile.blocks}x{tile.rows}x{tile.columns}"


def form_name(form: Form | None) -> str:
    """As F(4x4), 2 rows."""
    if form is None:
        return "direct"
    return f"F({form.outputs[0]}x{form.outputs[1]}), {form.chunk} rows"


def _row(
    shape: Shape, chosen: Hashable, runs: Mapping[Hashable, Run], names: Mapping[Hashable, str],
    rounds: int,
) -> Row:  # fmt: skip
    """Sweep, then run the chosen one and the best ones again."""
    order = np.argsort(medians(list(runs.values()), rounds))
    first = [list(runs)[index] for index in order[:FINALISTS]]
    finalists = [chosen, *(choice for choice in first if choice != chosen)]
    times = medians([runs[choice] for choice in finalists], 5 * rounds)
    best = int(np.argmin(times))
    speeds = shape.flops / times / 1e9
    return Row(
        str(shape), names[chosen], float(speeds[0]), names[finalists[best]], float(speeds[best]),
        len(runs),
    )  # fmt: skip


if __name__ == "__main__":
    main()
