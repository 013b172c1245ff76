"""A tensor whose channels lie in blocks: `NCHW` as `(N, blocks, H, W, lanes)`.

One block is what a vector register holds, so that a pixel's channels are loaded, computed and
stored together. Channels may lie in any order, and a slot may hold none: its number is finite and
without a meaning, and every weight that reads it is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

EMPTY = -1


@dataclass(frozen=True)
class Blocked:
    """A Relax value of shape (N, blocks, H, W, lanes), and which channel lies in which slot."""

    value: Any
    order: tuple[int, ...]
    """The channel in each slot (block x lanes + lane), or `EMPTY`."""
    lanes: int
    flat: bool = False
    """Whether it stands for (N, C): H and W are 1."""

    @property
    def blocks(self) -> int:
        """How many vectors a pixel takes."""
        return len(self.order) // self.lanes

    @property
    def channels(self) -> int:
        """How many channels lie in the slots."""
        return sum(channel != EMPTY for channel in self.order)

    @property
    def full(self) -> bool:
        """Whether every slot holds a channel."""
        return EMPTY not in self.order

    @cached_property
    def plain(self) -> bool:
        """Whether channel c lies in slot c."""
        return self.order[: self.channels] == tuple(range(self.channels))

    def places(self) -> npt.NDArray[np.int32]:
        """Return the slot of each channel."""
        slots = np.asarray(self.order)
        found = np.empty(self.channels, np.int32)
        found[slots[slots != EMPTY]] = np.flatnonzero(slots != EMPTY)
        return found

    def like(self, value: Any) -> Blocked:
        """Return another value of the same layout."""
        return Blocked(value, self.order, self.lanes, self.flat)


@dataclass(frozen=True)
class Joined:
    """Tensors whose channels follow each other, not yet copied together."""

    parts: tuple[Blocked, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The channel in each slot, once they are."""
        found: list[int] = []
        channels = 0
        for part in self.parts:
            found += [EMPTY if slot == EMPTY else slot + channels for slot in part.order]
            channels += part.channels
        return tuple(found)


def lanes_for(channels: int, widest: int) -> int:
    """Return how many of `channels` one block should hold, `widest` being a vector register.

    Padding costs what computes the block and again what reads it: a register that is filled to
    half may be cheaper than two that are full of nothing.
    """
    sizes = [size for size in (16, 8, 4, 2, 1) if size <= widest]
    return min(sizes, key=lambda size: (-(-channels // size)) ** 2 * size)


def in_order(channels: int, lanes: int) -> tuple[int, ...]:
    """Return the order of `channels` as they come, the last block filled up."""
    slots = -(-channels // lanes) * lanes
    return tuple(c if c < channels else EMPTY for c in range(slots))


def arranged(
    values: npt.NDArray[Any], order: tuple[int, ...], axis: int, fill: float = 0
) -> npt.NDArray[Any]:
    """Return `values` with one entry of `axis` for each slot, `fill` where a slot is empty."""
    slots = np.asarray(order)
    taken = np.take(values, np.maximum(slots, 0), axis=axis)
    empty = (slots == EMPTY).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return np.where(empty, np.asarray(fill, values.dtype), taken)
