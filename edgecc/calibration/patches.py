"""The patches that a convolution's filters see, at a sample of output positions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgecc.calibration.store import Batches
from edgecc.conv import Array, Conv
from edgecc.layers import output_sizes

PER_SIZE = 10
"""Patches wanted for each number in a patch, at least."""
GRAM_FLOP = 1e10
"""Multiply-adds that a Gram matrix may take where fewer patches would do."""
CHUNK_BYTES = 64 * 2**20


def wanted(patch_size: int) -> int:
    """How many patches are enough for a covariance (METHODS A.5)."""
    return int(max(PER_SIZE * patch_size, min(GRAM_FLOP / patch_size**2, 100_000)))


class Sampler:
    """Chooses output positions of each sample: all of them, or an even scatter, the same in every
    run and other ones in every chunk of samples.
    """

    def __init__(self, conv: Conv, most: int | None = None) -> None:
        self._conv = conv
        self._wanted = most or wanted(conv.patch_size)
        self._random = np.random.default_rng(0)

    def over(self, inputs: Batches, *outputs: Batches) -> Iterator[tuple[Array, ...]]:
        """Yield patches (N, G, d) of a value's batches (B, I, *sizes) in chunks of bounded size,
        and of `outputs` (B, O, *output sizes) the numbers (N, O) at the same positions.
        """
        conv = self._conv
        most = self._of_each(inputs)
        for index, batch in enumerate(inputs):
            sizes = output_sizes(batch.shape[2:], conv.kernel, conv.window)
            count = min(math.prod(sizes), most)
            step = max(1, CHUNK_BYTES // (4 * conv.in_channels * conv.taps * count))
            there = [y[index] for y in outputs]
            for start in range(0, len(batch), step):
                part = slice(start, start + step)
                at = self._positions(math.prod(sizes), count)
                where = np.unravel_index(at, sizes) if sizes else ()
                patches = _patches(np.asarray(batch[part]), conv, where)
                yield patches, *(_rows(np.asarray(y[part]), at) for y in there)

    def count(self, inputs: Batches) -> int:
        """How many patches `over` yields of these batches."""
        conv, most = self._conv, self._of_each(inputs)
        sizes = [output_sizes(batch.shape[2:], conv.kernel, conv.window) for batch in inputs]
        return sum(
            len(b) * min(math.prod(size), most) for b, size in zip(inputs, sizes, strict=True)
        )

    def _of_each(self, inputs: Batches) -> int:
        """How many patches are taken of a sample that has so many."""
        return math.ceil(self._wanted / sum(len(batch) for batch in inputs))

    def _positions(self, there: int, count: int) -> Array:
        if count == there:
            return np.arange(there)
        return np.sort(self._random.choice(there, count, replace=False))


def _patches(x: Array, conv: Conv, at: tuple[Array, ...]) -> Array:
    """im2col at chosen positions: (B*P, G, d), channel-major as ONNX stores weights."""
    spatial = len(conv.kernel)
    if not spatial:
        return x.reshape(len(x), conv.groups, -1)
    pads = conv.window.pads
    around = [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:], strict=True)]
    padded = np.pad(x, around) if any(pads) else x
    taken = np.empty((len(x), len(at[0]), conv.in_channels, conv.taps), x.dtype)
    for number, tap in enumerate(np.ndindex(*conv.kernel)):
        index = tuple(
            where * stride + offset * dilation
            for where, stride, offset, dilation in zip(
                at, conv.window.strides, tap, conv.window.dilations, strict=True
            )
        )
        found = padded[(slice(None), slice(None), *index)]  # (B, I, P)
        taken[..., number] = found.transpose(0, 2, 1)
    return taken.reshape(-1, conv.groups, conv.patch_size)


def _rows(y: Array, at: Array) -> Array:
    """(B, O, *sizes) at flat positions: (B*P, O)."""
    flat = y.reshape(*y.shape[:2], -1)[:, :, at]  # (B, O, P)
    return flat.transpose(0, 2, 1).reshape(-1, y.shape[1])
