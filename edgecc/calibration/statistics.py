"""What is known of a convolution: mean and covariance of the patches that a filter sees, and how
much of its output is let through by what follows.

Under them every decomposition minimises the same error, that of the output,
`E |D ((W x + b) - (W' x + b'))|^2 = tr(D (W - W') S (W - W')^T D)` with the best bias
`b' = b + (W - W') mu`. The identity stands for knowing nothing: then it is the weights' own error.
`D` is diagonal: its squares are the shares of positions at which a ReLU lets an output through,
which is what an error there does to the next layer, to first order. Half of a network's outputs can
lie below zero nearly everywhere; SRMD by `channel_prune(keep=90)` comes out at 41.8 dB without D,
and at 44.5 dB with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cholesky

from edgecc.conv import Array, Conv
from edgecc.products import product

FLOOR = 1e-4
SHRINKAGE = 0.5
"""Ridge `max(FLOOR, SHRINKAGE * d / patches)` times the mean variance; from 0.1 to 2 all do well,
without it few samples give solutions that are worse than none."""
SINGLE = 1000
"""Covariances of more numbers than this, and what is solved with them, are float32: half the work.
So many numbers have few patches each, and a ridge of percents that its rounding is nothing to."""
LEAST_PASSED = 0.01
"""An output that the samples never let through still counts for something."""


def precision(size: int) -> type[np.floating[Any]]:
    """Return the type of a covariance of so many numbers."""
    return np.float64 if size <= SINGLE else np.float32


@dataclass(frozen=True, eq=False)
class Block:
    """The filters of one group, and the covariance of the patches that they see."""

    weight: Array
    """(n, d), d = channels * taps, channel-major; of the type of the covariance."""
    covariance: Array | None
    """(d, d) of `precision(d)`, symmetric, positive definite; None is the identity."""
    channels: int
    kernel: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        return int(np.prod(self.kernel, dtype=int))

    @property
    def dense_covariance(self) -> Array:
        """The covariance (d, d), the identity written out."""
        if self.covariance is not None:
            return self.covariance
        return np.eye(self.weight.shape[1], dtype=self.weight.dtype)

    def times(self, rows: Array) -> Array:
        """`rows @ S` for rows (m, d)."""
        return rows if self.covariance is None else product(rows, self.covariance)

    def gram(self) -> tuple[Array, Array | None]:
        """The smaller of `A A^T` (n, n) and `A^T A` (d, d), where `A = W L` and `L L^T = S`: their
        eigenvectors are the principal components of the output.

        With the second comes L, None for the identity.
        """
        weight = self.weight
        if len(weight) <= weight.shape[1]:
            return self.times(weight) @ weight.T, None
        if self.covariance is None:
            return weight.T @ weight, None
        root = cholesky(self.covariance, lower=True, check_finite=False)
        half = weight @ root
        return half.T @ half, root

    def energy(self, rows: Array) -> float:
        """`tr(rows S rows^T)`: what filters (m, d) put out, squared and summed."""
        return float(np.sum(self.times(rows) * rows))


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and centred covariance of a convolution's input patch, by group, channel-major."""

    mean: Array
    """(G, d)."""
    covariance: Array | None
    """(G, d, d), ridged; None is the identity in every group."""
    patches: int = 0
    """How many patches they were taken from."""
    passed: Array | None = None
    """(O,), the share of positions at which each output is let through; None is 1."""

    @classmethod
    def identity(cls, conv: Conv, mean: Array | None = None) -> Statistics:
        """Nothing is known of the input, or no more than the mean of each channel (I,)."""
        size = (conv.groups, conv.patch_size)
        if mean is None:
            return cls(np.zeros(size), None)
        return cls(np.repeat(np.asarray(mean, np.float64), conv.taps).reshape(size), None)

    @classmethod
    def of_moments(cls, mean: Array, covariance: Array, patches: int) -> Statistics:
        """From what was measured, (G, d) and (G, d, d), ridged for so many patches.

        Inputs that never change leave the identity: any direction is as good as another.
        """
        size = covariance.shape[-1]
        ridge = max(FLOOR, SHRINKAGE * size / max(patches, 1))
        variance = np.trace(covariance, axis1=1, axis2=2) / size  # (G,)
        variance = np.where(variance > 0, variance, 1.0 / ridge)
        ridged = covariance.astype(precision(size))
        ridged[:, np.arange(size), np.arange(size)] += (ridge * variance)[:, None]
        return cls(mean, ridged, patches)

    @property
    def size_bytes(self) -> int:
        """What the covariance takes."""
        return 0 if self.covariance is None else int(self.covariance.nbytes)

    def scales(self, conv: Conv) -> Array | None:
        """What the filters of `conv` are multiplied by so that errors count as they are felt:
        (G, O/G), the diagonal of D; None is 1.
        """
        if self.passed is None:
            return None
        scales: Array = np.sqrt(np.maximum(self.passed, LEAST_PASSED))
        return scales.reshape(conv.groups, -1)

    def blocks(self, conv: Conv) -> Iterator[Block]:
        """The groups of `conv`, each with its covariance; the filters are scaled (`scales`)."""
        scales = self.scales(conv)
        for group, weight in enumerate(conv.matrix()):
            covariance = None if self.covariance is None else self.covariance[group]
            scaled = weight if scales is None else weight * scales[group][:, None]
            scaled = scaled if covariance is None else scaled.astype(covariance.dtype, copy=False)
            yield Block(scaled, covariance, int(conv.weight.shape[1]), conv.kernel)
