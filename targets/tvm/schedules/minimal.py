"""Whether Winograd's minimal filtering beats the sum over the window, and in which form."""

from __future__ import annotations

from targets.tvm.compute.window import Window
from targets.tvm.compute.winograd import Form
from targets.tvm.core import Core
from targets.tvm.schedules.tile import cycles, register_tile

TRANSFORMS = {2: (70.0, 45.0), 4: (190.0, 130.0)}
"""Vector instructions that transform one tile of one block: data, products (counted)."""
COLD = 4.0
"""Bytes a cycle as weights come that nobody has read since the last run (measured)."""
STREAMED = 12.0
"""The same when they are read again, and do not stay in the second cache."""
SPILLED = 36.0
"""The same for tiles that were written shortly before."""
GAIN = 0.9
"""Winograd's error is larger: it has to be worth something."""


def winograd_form(
    core: Core, window: Window, groups: int, inputs: int, blocks: int, outputs: tuple[int, int]
) -> Form | None:
    """Return how to compute a 3x3 convolution by Winograd, None where the sum over the window is as
    fast. Each of its groups reads `inputs` channels and gives `blocks` blocks."""
    if window.taps != (3, 3) or window.strides != (1, 1) or window.dilations != (1, 1):
        return None
    rows, columns = outputs
    tile = register_tile(core, blocks, rows, columns)
    direct = 9 * inputs * _steps(core, blocks, rows, columns)
    direct = groups * (direct + _streaming(core, 9 * inputs * blocks, 1))
    best, found = GAIN * direct, None
    for m in (4, 2):
        high, wide = -(-rows // m), -(-columns // m)
        into, back = TRANSFORMS[m]
        taken = (m + 2) ** 2 * inputs * _steps(core, blocks, high, wide)
        taken += high * wide * (into * inputs / core.lanes + back * blocks) / core.fma_per_cycle
        row = groups * (m + 2) ** 2 * (inputs + blocks * core.lanes) * wide * 4
        for chunk in (size for size in range(1, high + 1) if high % size == 0):
            moved = high * row / SPILLED if chunk * row > core.l2_kb * 1024 / 2 else 0.0
            moved += groups * (
                taken + _streaming(core, (m + 2) ** 2 * inputs * blocks, high // chunk)
            )
            if moved < best:
                best = moved
                found = Form(m, chunk, register_tile(core, blocks, chunk, wide))
    return found


def _steps(core: Core, blocks: int, rows: int, columns: int) -> float:
    """Return the cycles for one input channel and one tap of a whole output."""
    tile = register_tile(core, blocks, rows, columns)
    steps = blocks // tile.blocks * (rows // tile.rows) * -(-columns // tile.columns)
    return steps * cycles(core, tile)


def _streaming(core: Core, vectors: int, times: int) -> float:
    """Return the cycles that it takes to read so many vectors of weights so many times."""
    size = vectors * core.lanes * 4
    again = (times - 1) / STREAMED if size > core.l2_kb * 1024 / 2 else 0.0
    return size * (1 / COLD + again)
