"""Whether Winograd's minimal filtering beats the sum over the window, and in which form."""

from __future__ import annotations

from edgecc.target import Core
from targets.tvm.compute.window import Window
from targets.tvm.compute.winograd import Form, points
from targets.tvm.schedules.tile import cycles, register_tile

SHAPES = {
    (3, 3): ((4, 4), (2, 2)),
    (3, 1): ((4, 1), (2, 1)),
    (1, 3): ((1, 4), (1, 2)),
}
"""For each window, the outputs of a tile."""
TRANSFORMS = {4: (190.0, 130.0), 2: (70.0, 45.0)}
"""Vector instructions to transform one tile of one block both ways: data, products (counted)."""
COLD = 4.0
"""Bytes a cycle as weights come from memory (measured)."""
LARGE = 4
"""Networks with weights of so many second caches find them in memory at each run."""
STREAMED = 12.0
"""The same from a cache behind the second one."""
SPILLED = 36.0
"""The same for tiles that were written shortly before."""
CHUNK = 300.0
"""Cycles to begin with the next rows of tiles."""
WHOLE = 15000.0
"""Cycles to start the other cores three times more, as each step is shared by itself."""
GAIN = 0.9
"""Winograd's error is larger: it has to be worth something."""


def winograd_form(
    core: Core,
    window: Window,
    groups: int,
    inputs: int,
    blocks: int,
    outputs: tuple[int, int],
    network_bytes: int = 0,
) -> Form | None:
    """Return how to compute a convolution by Winograd, None where the sum over the window is as
    fast. Each of its groups reads `inputs` channels and gives `blocks` blocks; `network_bytes` is
    the size of all weights of the network."""
    if window.taps not in SHAPES or window.strides != (1, 1) or window.dilations != (1, 1):
        return None
    first = COLD if network_bytes > LARGE * core.l2_kb * 1024 else STREAMED
    rows, columns = outputs
    taps = window.taps[0] * window.taps[1]
    direct = taps * inputs * _steps(core, blocks, rows, columns)
    direct = groups * (direct + _streaming(core, taps * inputs * blocks, 1, first))
    best, found = GAIN * direct, None
    for m, q in SHAPES[window.taps]:
        high, wide, products = -(-rows // m), -(-columns // q), points(m) * points(q)
        taken = products * inputs * _steps(core, blocks, high, wide)
        taken += high * wide * _transforms(core, (m, q), inputs, blocks)
        row = groups * products * (inputs + blocks * core.lanes) * wide * 4
        for chunk in _chunks(high):
            weights = _streaming(core, products * inputs * blocks, high // chunk, first)
            moved = high * row / SPILLED if chunk * row > core.l2_kb * 1024 / 2 else 0.0
            moved += WHOLE if chunk == high else high // chunk * CHUNK
            if groups * (taken + weights) + moved < best:
                best = groups * (taken + weights) + moved
                found = Form((m, q), chunk, register_tile(core, blocks, chunk, wide))
    return found


def _chunks(high: int) -> list[int]:
    """Return how many rows of tiles may go together."""
    return [size for size in range(1, high + 1) if high % size == 0]


def _transforms(core: Core, outputs: tuple[int, int], inputs: int, blocks: int) -> float:
    """Return the cycles in which one tile is transformed and back."""
    into, back = TRANSFORMS[max(outputs)]
    share = 1.0 if min(outputs) > 1 else 0.5 / max(outputs)
    return share * (into * inputs / core.lanes + back * blocks) / core.fma_per_cycle


def _steps(core: Core, blocks: int, rows: int, columns: int) -> float:
    """Return the cycles for one input channel and one tap of a whole output."""
    tile = register_tile(core, blocks, rows, columns)
    steps = blocks // tile.blocks * (rows // tile.rows) * -(-columns // tile.columns)
    return steps * cycles(core, tile)


def _streaming(core: Core, vectors: int, times: int, first: float) -> float:
    """Return the cycles in which so many vectors of weights are read so many times, the first time
    at `first` bytes a cycle."""
    size = vectors * core.lanes * 4
    again = (times - 1) / STREAMED if size > core.l2_kb * 1024 / 2 else 0.0
    return size * (1 / first + again)
