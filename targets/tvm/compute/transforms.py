"""From `NCHW` into blocks of channels and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from targets.tvm.layout.blocked import EMPTY


def packed(x: Any, order: tuple[int, ...], lanes: int) -> Any:
    """Return (N, C, H, W) as (N, blocks, H, W, lanes), empty slots zero."""
    from tvm import te, tirx

    batch, channels, height, width = (int(size) for size in x.shape)
    shape = (batch, len(order) // lanes, height, width, lanes)
    if order[:channels] == tuple(range(channels)):
        full = len(order) == channels

        def body(n: Any, o: Any, y: Any, z: Any, c: Any) -> Any:
            slot = o * lanes + c
            if full:
                return x[n, slot, y, z]
            zero = tirx.const(0, x.dtype)
            return tirx.if_then_else(slot < channels, x[n, slot, y, z], zero)

        return te.compute(shape, body, name="packed")
    raise NotImplementedError


def unpacked(x: Any, order: tuple[int, ...], lanes: int, flat: bool) -> Any:
    """Return (N, blocks, H, W, lanes) as (N, C, H, W), or (N, C) where it is `flat`."""
    from tvm import te

    batch, _, height, width, _ = (int(size) for size in x.shape)
    slots = np.asarray(order)
    channels = int((slots != EMPTY).sum())
    shape = (batch, channels, height, width)
    if order[:channels] == tuple(range(channels)):
        if flat:
            return te.compute(
                shape[:2], lambda n, c: x[n, c // lanes, 0, 0, c % lanes], name="unpacked"
            )
        return te.compute(
            shape, lambda n, c, y, z: x[n, c // lanes, y, z, c % lanes], name="unpacked"
        )
    raise NotImplementedError
