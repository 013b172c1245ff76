"""Between `NCHW` and blocks of channels."""

from __future__ import annotations

from typing import Any


def packed(x: Any, *slots: Any, channels: int, blocks: int, lanes: int) -> Any:
    """Return (N, C, H, W) as (N, blocks, H, W, lanes), empty slots zero.

    `slots` (blocks, lanes) is the channel in each slot, or -1; without it they are as they come.
    """
    from tvm import te, tirx

    batch, _, height, width = (int(size) for size in x.shape)
    zero = tirx.const(0, x.dtype)

    def body(n: Any, o: Any, y: Any, z: Any, c: Any) -> Any:
        if slots:
            channel = slots[0][o, c]
            return tirx.if_then_else(channel >= 0, x[n, tirx.max(channel, 0), y, z], zero)
        if blocks * lanes == channels:
            return x[n, o * lanes + c, y, z]
        return tirx.if_then_else(o * lanes + c < channels, x[n, o * lanes + c, y, z], zero)

    return te.compute((batch, blocks, height, width, lanes), body, name="packed")


def unpacked(x: Any, *places: Any, channels: int, flat: bool) -> Any:
    """Return (N, blocks, H, W, lanes) as (N, C, H, W), or (N, C) where it is `flat`.

    `places` (C) is the slot of each channel; without it they are as they come.
    """
    from tvm import te

    batch, _, height, width, lanes = (int(size) for size in x.shape)

    def body(n: Any, c: Any, *pixel: Any) -> Any:
        slot = places[0][c] if places else c
        return x[(n, slot // lanes, *(pixel or (0, 0)), slot % lanes)]

    shape = (batch, channels) if flat else (batch, channels, height, width)
    return te.compute(shape, body, name="unpacked")


def interleaved(
    x: Any, *, strides: tuple[int, int], starts: tuple[int, int], outputs: tuple[int, int]
) -> Any:
    """Return (N, phases x blocks, H, W, lanes) with the phases of each stride side by side.

    `starts` is how many of the first rows and columns are left out.
    """
    from tvm import te

    batch, held, _, _, lanes = (int(size) for size in x.shape)
    (down, along), (top, left) = strides, starts
    blocks = held // (down * along)

    def body(n: Any, o: Any, y: Any, z: Any, c: Any) -> Any:
        phase = (y + top) % down * along + (z + left) % along
        return x[n, phase * blocks + o, (y + top) // down, (z + left) // along, c]

    return te.compute((batch, blocks, *outputs, lanes), body, name="interleaved")
