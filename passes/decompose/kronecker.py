"""How the two halves of `pointwise_depthwise` are fitted to the output; METHODS B2'.

Every output has a mix of the channels and a filter for each of the mixed ones, `W_o = A_o B_o`. In
the covariance's nearest Kronecker product both come from one decomposition; from there the mix is
improved by conjugate gradients, and the filters follow by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecc.calibration.statistics import Block
from edgecc.conv import Array

STEPS = 2
"""Conjugate gradients a time: they start near the end."""
NUMBERS_AT_ONCE = 2**23
"""Of the normal equations of some outputs: 64 MB."""


def by_output(block: Block) -> Array:
    """The filter of each output: (n, c, taps)."""
    return block.weight.reshape(-1, block.channels, block.taps)


@dataclass(frozen=True, eq=False)
class KroneckerFit:
    """The filters of a group, with all that the fits of several ranks share."""

    weight: Array
    """(n, c, taps)."""
    output: Array
    """`W S` (n, c, taps)."""
    covariance: Array
    """(c, taps, c, taps)."""
    single: Array
    """(d, d): the same in float32."""
    across: Array
    """(c, c): its Kronecker product with `within` (taps, taps) resembles the covariance."""
    root: Array
    """(taps, taps): the Cholesky factor of `within`."""

    @classmethod
    def of(cls, block: Block) -> KroneckerFit:
        """Prepare the fits of a block with statistics."""
        weight = by_output(block)
        four = block.dense_covariance.reshape(weight.shape[1:] * 2)
        across = np.einsum("atbt->ab", four)
        within = np.einsum("atau->tu", four) / np.trace(across)
        output = block.times(block.weight).reshape(weight.shape)
        single = block.dense_covariance.astype(np.float32)
        return cls(weight, output, four, single, across, np.linalg.cholesky(within))

    def start(self, rank: int) -> tuple[Array, Array]:
        """Return the best mix (n, c, rank) and filters (n, rank, taps), were the covariance the
        Kronecker product.
        """
        white = self.weight @ self.root
        gram = white.transpose(0, 2, 1) @ (self.across @ white)
        kept = np.linalg.eigh(gram)[1][:, :, ::-1][:, :, :rank]  # (n, taps, rank)
        return white @ kept, kept.transpose(0, 2, 1) @ np.linalg.inv(self.root)

    def mix(self, mix: Array, filters: Array) -> tuple[Array, Array, float]:
        """Improve the mix; return both halves and the energy lost.

        Conjugate gradients on the least squares of every output, whose solution would take a
        system of c*rank unknowns each. With filters orthonormal in `within`, the inverse of
        `across` is nearly that of the system.
        """
        q, r = np.linalg.qr((filters @ self.root).transpose(0, 2, 1))
        mix, filters = mix @ r.transpose(0, 2, 1), q.transpose(0, 2, 1) @ np.linalg.inv(self.root)
        back, inverse = filters.transpose(0, 2, 1), np.linalg.inv(self.across)
        missing = self.weight - mix @ filters
        seen = self._times(missing)
        lost = float(np.sum(missing * seen))
        residual = seen @ back  # (n, c, rank)
        scaled = direction = inverse @ residual
        size = np.sum(residual * scaled, axis=(1, 2), keepdims=True)  # (n, 1, 1)
        for _ in range(STEPS):
            change = self._times(direction @ filters) @ back
            length = _ratio(size, np.sum(direction * change, axis=(1, 2), keepdims=True))
            mix, residual = mix + length * direction, residual - length * change
            lost -= float(np.sum(length * size))
            scaled, before = inverse @ residual, size
            size = np.sum(residual * scaled, axis=(1, 2), keepdims=True)
            direction = scaled + _ratio(size, before) * direction
        return mix, filters, lost

    def _times(self, rows: Array) -> Array:
        """`rows S` for (n, c, taps), in float32: this is where the time goes."""
        flat = rows.reshape(len(rows), -1).astype(np.float32)
        return (flat @ self.single).reshape(rows.shape).astype(np.float64)

    def filters(self, mix: Array) -> tuple[Array, Array, Array]:
        """Return the mix with orthonormal columns, the best filters for it, and the energy that
        each output keeps (n,).
        """
        mix = np.linalg.qr(mix)[0]
        outputs, _, rank = mix.shape
        unknowns = rank * self.weight.shape[2]
        made, kept = np.empty((outputs, unknowns, 1)), np.empty(outputs)
        at_once = max(1, NUMBERS_AT_ONCE // unknowns**2)
        for start in range(0, outputs, at_once):
            some = slice(start, start + at_once)
            wanted = mix[some].transpose(0, 2, 1) @ self.output[some]  # (n, rank, taps)
            wanted = wanted.reshape(-1, unknowns, 1)
            made[some] = np.linalg.solve(self._seen_through(mix[some]), wanted)
            kept[some] = np.sum(made[some] * wanted, axis=(1, 2))
        return mix, made.reshape(outputs, rank, -1), kept

    def _seen_through(self, mix: Array) -> Array:
        """The covariance that the filters of each output see: (n, rank*taps, rank*taps)."""
        outputs, channels, rank = mix.shape
        taps = self.weight.shape[2]
        rows = mix.transpose(0, 2, 1).reshape(-1, channels)  # (n*rank, c)
        seen = np.empty((outputs, rank, taps, rank, taps))
        for t in range(taps):
            for u in range(t, taps):
                half = (rows @ self.covariance[:, t, :, u]).reshape(outputs, rank, channels)
                seen[:, :, t, :, u] = half @ mix
                seen[:, :, u, :, t] = seen[:, :, t, :, u].transpose(0, 2, 1)
        return seen.reshape(outputs, rank * taps, -1)


def _ratio(over: Array, under: Array) -> Array:
    """Their ratio, 0 where there is nothing to divide by."""
    found: Array = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
    return found
