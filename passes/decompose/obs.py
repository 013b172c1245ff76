"""The optimal brain surgeon on channels: what losing one costs, and in which order to lose them.

Zeroing the columns b of filters W and re-fitting all others to the same output loses
`tr(W_b (H_bb)^-1 W_b^T)` with `H = S^-1`, exactly. Going on from there,
`W -= W_b H_bb^-1 H_b` and `H -= H_b^T H_bb^-1 H_b` are the re-fitted filters and the new inverse.
Without statistics H is the identity, and the loss is the magnitude of what is zeroed.
Paper: Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon",
    NIPS 1992; there single weights and the Hessian, here the columns of a channel and the
    covariance of what the filters read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lapack, solve_triangular

from edgecc.calibration.statistics import Block
from edgecc.conv import Array
from passes.decompose.descent import Descent, columns


@dataclass(frozen=True, eq=False)
class Ranking:
    """The channels in order of importance, and what is lost by keeping the first of them alone."""

    channels: Array
    """(c,) the one to be kept longest first."""
    lost: Array
    """(c + 1,) energy at 0, 1, ..., c channels; infinite where it was not asked for."""

    def first(self, keep: int) -> Array:
        """The `keep` most important channels, sorted."""
        return np.sort(self.channels[:keep])


def inverse(block: Block) -> Array | None:
    """`S^-1` (c, taps, c, taps); None is the identity."""
    if block.covariance is None:
        return None
    factor, failed = lapack.dpotrf(block.covariance.astype(np.float64), lower=1, clean=0)
    if failed:
        raise np.linalg.LinAlgError("the covariance is not positive definite")
    lower = lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
    whole = np.tril(lower)
    whole += np.tril(lower, -1).T
    found: Array = whole.reshape(block.channels, block.taps, block.channels, block.taps)
    return found


def losses(weight: Array, inverse: Array | None, taps: Array | None = None) -> Array:
    """What each filter loses (n, c) without these taps of a channel (all of them by default).

    `weight` is (n, c, taps).
    """
    columns = weight if taps is None else weight[:, :, taps]
    if inverse is None:
        magnitude: Array = np.square(columns).sum(axis=2)
        return magnitude
    diagonal = np.einsum("ctcu->ctu", inverse)  # (c, taps, taps)
    if taps is not None:
        diagonal = diagonal[:, taps][:, :, taps]
    columns = columns.transpose(1, 2, 0)  # (c, taps, n)
    found: Array = (columns * np.linalg.solve(diagonal, columns)).sum(axis=1).T
    return found


def rankings(
    rows: Array, block: Block, inverse: Array | None, least: int, most: int
) -> list[Ranking]:
    """The orders in which the filters `rows` (n, d) can lose channels: by elimination and by
    magnitude, with what is lost when from `least` to `most` channels are kept.
    """
    by_size = by_magnitude(rows, block, least, most)
    return [by_size] if inverse is None else [eliminate(rows, block, inverse, least), by_size]


def eliminate(rows: Array, block: Block, inverse: Array, least: int) -> Ranking:
    """Lose one channel after the other, each time the one that costs least, down to `least`."""
    descent = Descent(rows, inverse)
    gone: list[int] = []
    costs: list[float] = []
    while (more := block.channels - len(gone) - least) > 0:
        channels, cost = descent.lose_cheapest(more)
        gone += channels
        costs += cost
    lost = np.full(block.channels + 1, np.inf)
    lost[block.channels - len(gone) :] = np.cumsum([0.0, *costs])[::-1]
    left = np.setdiff1d(np.arange(block.channels), gone)
    return Ranking(np.array([*left, *reversed(gone)]), lost)


def by_magnitude(rows: Array, block: Block, least: int, most: int) -> Ranking:
    """Keep the channels with the largest weights; what is lost is exact all the same.

    With `S_AA = L L^T` for the columns A in the order in which they are kept, what keeping the
    first m of them captures is the energy of the first m columns of `W S_:A L^-T`.
    """
    sizes = np.square(rows.reshape(-1, block.channels, block.taps)).sum(axis=(0, 2))
    order = np.argsort(-sizes, kind="stable")
    lost = np.full(block.channels + 1, np.inf)
    lost[-1] = 0.0
    if block.covariance is None:
        lost[:-1] = np.cumsum(sizes[order][::-1])[::-1]
        return Ranking(order, lost)
    kept = columns(order[:most], block.taps)
    factor = np.linalg.cholesky(block.covariance[np.ix_(kept, kept)])
    outcome = rows @ block.covariance[:, kept]
    captured = np.square(solve_triangular(factor, outcome.T, lower=True)).sum(axis=1)
    by_count = captured.reshape(-1, block.taps).sum(axis=1).cumsum()[least - 1 :]
    lost[least : most + 1] = np.maximum(block.energy(rows) - by_count, 0.0)
    return Ranking(order, lost)


def refit(rows: Array, block: Block, kept: Array) -> Array:
    """The filters (n, len(kept)) that, with these columns alone, come nearest to `rows` (n, d).

    `W_A + W_B S_BA S_AA^-1`, B the columns that are left out; `kept` is sorted.
    """
    lost = np.delete(np.arange(rows.shape[1]), kept)
    found = rows[:, kept]
    if block.covariance is None or not rows[:, lost].any():
        return found
    cross = rows[:, lost] @ block.covariance[np.ix_(lost, kept)]
    factor = cho_factor(block.covariance[np.ix_(kept, kept)], lower=True)
    result: Array = found + cho_solve(factor, cross.T).T
    return result
