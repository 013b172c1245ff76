"""How the two halves of `pointwise_depthwise` are fitted to the output; METHODS B2'.

Every output has a mix of the channels and a filter for each of the mixed ones, `W_o = A_o B_o`. In
the covariance's nearest Kronecker product both come from one decomposition; from there the mix is
improved by conjugate gradients, and the filters follow by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgecc.calibration.statistics import Block
from edgecc.conv import Array

ROUNDS = 4
"""More gain a few percent of the error at most."""
ROUNDS_OF_LARGE = 2
LARGE = 2304
"""Numbers that one filter of the dense convolution sees: 256 channels, 3x3."""
STEPS = 4
"""Conjugate gradients a round."""
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
    """(d, d): the same in float32, over `scale`."""
    scale: float
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
        scale = float(np.trace(across)) / weight[0].size
        single = np.empty(block.dense_covariance.shape, np.float32)
        np.divide(block.dense_covariance, scale, out=single, casting="same_kind")
        return cls(weight, output, four, single, scale, across, np.linalg.cholesky(within))

    @property
    def energy(self) -> float:
        """`tr(W S W^T)`."""
        return float(np.sum(self.weight * self.output))

    def start(self, rank: int) -> tuple[Array, Array]:
        """Return the best mix (n, c, rank) and filters (n, rank, taps), were the covariance the
        Kronecker product.
        """
        white = self.weight @ self.root
        gram = white.transpose(0, 2, 1) @ (self.across @ white)
        kept = np.linalg.eigh(gram)[1][:, :, ::-1][:, :, :rank]  # (n, taps, rank)
        return white @ kept, kept.transpose(0, 2, 1) @ np.linalg.inv(self.root)

    def some(self, at_most: int) -> tuple[KroneckerFit, slice]:
        """Return the fit of so many outputs, evenly spread, and which they are."""
        chosen = slice(None, None, -(-len(self.weight) // at_most))
        return replace(self, weight=self.weight[chosen], output=self.output[chosen]), chosen

    def solve(self, rank: int) -> tuple[Array, Array, Array]:
        """Return mix and filters, and the energy that each output keeps (n,)."""
        mix, filters = self.start(rank)
        large = len(self.single) > LARGE
        for _ in range(ROUNDS_OF_LARGE if large else ROUNDS):
            mix, filters, kept = self.filters(self.mix(mix, filters))
        return mix, filters, kept

    def lost(self, mix: Array, filters: Array) -> Array:
        """Return the energy that each output loses (n,)."""
        missing = self.weight - mix @ filters
        lost: Array = np.sum(missing * self._times(missing), axis=(1, 2))
        return lost

    def mix(self, mix: Array, filters: Array) -> Array:
        """Return a better mix for the span of the filters.

        Conjugate gradients on the least squares of every output, whose solution would take a
        system of c*rank unknowns each. With filters orthonormal in `within`, the inverse of
        `across` is nearly that of the system.
        """
        q, r = np.linalg.qr((filters @ self.root).transpose(0, 2, 1))
        mix, filters = mix @ r.transpose(0, 2, 1), q.transpose(0, 2, 1) @ np.linalg.inv(self.root)
        back, inverse = filters.transpose(0, 2, 1), np.linalg.inv(self.across)
        residual = self._times(self.weight - mix @ filters) @ back  # (n, c, rank)
        scaled = direction = inverse @ residual
        size = np.sum(residual * scaled, axis=(1, 2), keepdims=True)  # (n, 1, 1)
        for _ in range(STEPS):
            change = self._times(direction @ filters) @ back
            length = _ratio(size, np.sum(direction * change, axis=(1, 2), keepdims=True))
            mix, residual = mix + length * direction, residual - length * change
            scaled, before = inverse @ residual, size
            size = np.sum(residual * scaled, axis=(1, 2), keepdims=True)
            direction = scaled + _ratio(size, before) * direction
        return mix

    def _times(self, rows: Array) -> Array:
        """`rows S` for (n, c, taps), in float32: this is where the time goes."""
        flat = rows.reshape(len(rows), -1).astype(np.float32)
        return self.scale * (flat @ self.single).reshape(rows.shape).astype(np.float64)

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
