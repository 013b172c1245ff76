"""First and second moments of patches, summed over batches; and what follows from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from edgecc.calibration.statistics import SHRINKAGE, Statistics, precision
from edgecc.conv import Array, Conv
from edgecc.errors import ModelError
from edgecc.products import product, side_by_side

AT_ONCE = 4096
"""Patches in one product."""
REGRESSION_FLOOR = 1e-3
"""The ridge of the regression onto the rewritten network's inputs, at least (METHODS A.5)."""
STILL = 1e-6
"""A number whose deviation is below this share of its mean never changes: that is rounding, which
adds up from layer to layer in float32."""
LEAST_VARIANCE = 1e-30
"""Products of smaller numbers have lost their digits in float32."""


class Moments:
    """Sums over patches x (N, G, d) and, where there are any, targets y (N, O).

    Products are taken in float32 of numbers from which a first mean is subtracted, many patches
    at a time, and summed in float64. What never changes has no variance at all, exactly.
    Errors: `edgecc.errors.ModelError` for numbers that are not finite, or have no finite square.
    """

    def __init__(self, conv: Conv, *, targets: bool) -> None:
        groups, size = conv.groups, conv.patch_size
        width = conv.out_channels // groups if targets else 0
        self._conv = conv
        self._count = 0
        self._offset: Array | None = None
        self._waiting: list[Array] = []
        self._sum = np.zeros((groups, size + width))
        self._products = np.zeros((groups, size + width, size))
        self._known: tuple[Array, Array] | None = None
        self._factors: list[tuple[Array, bool] | None] | None = None

    def add(self, patches: Array, targets: Array | None = None) -> None:
        """Take in patches (N, G, d) and targets (N, O) at the same positions."""
        rows = patches.transpose(1, 0, 2)  # (G, N, d)
        if targets is not None:
            by_group = targets.reshape(len(targets), self._conv.groups, -1).transpose(1, 0, 2)
            rows = np.concatenate([rows, by_group], axis=2)
        self._waiting.append(np.asarray(rows, np.float32))
        self._known = self._factors = None
        if sum(rows.shape[1] for rows in self._waiting) >= AT_ONCE:
            self._take_in()

    def _take_in(self) -> None:
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting, axis=1)
        self._waiting.clear()
        self._refuse_infinite(rows)
        if self._offset is None:
            self._offset = _level(rows)
        with np.errstate(over="ignore"):
            rows -= self._offset
        self._count += rows.shape[1]
        self._sum += rows.sum(axis=1, dtype=np.float64)
        self._products += product(rows.transpose(0, 2, 1), rows[:, :, : self._conv.patch_size])

    def mean(self) -> Array:
        """The mean of the patches (G, d)."""
        found: Array = self._centred()[0][:, : self._conv.patch_size]
        return found

    def statistics(self) -> Statistics:
        """Mean and ridged covariance of the patches."""
        mean, covariance = self._centred()
        size = self._conv.patch_size
        inputs = covariance[:, :size].astype(precision(size), copy=False)
        symmetric = inputs + inputs.transpose(0, 2, 1)
        symmetric /= 2
        return Statistics.of_moments(mean[:, :size], symmetric, self._count)

    def towards(self) -> Conv:
        """Return the convolution that comes nearest to the targets on these patches:
        `W* = W + (cov(y, x) - W S)(S + ridge)^-1`, `b* = E y - W* E x` (METHODS A.3).
        """
        conv = self._conv
        mean, covariance = self._centred()
        size, weight = conv.patch_size, conv.matrix()
        weight = weight + self.regressed(covariance[:, size:] - weight @ covariance[:, :size])
        bias = mean[:, size:] - np.einsum("gnd,gd->gn", weight, mean[:, :size])
        return replace(conv, weight=weight.reshape(conv.weight.shape), bias=bias.ravel())

    def regressed(self, cross: Array) -> Array:
        """Return the filters `cross (S + ridge)^-1` (G, n, d) that, of what has this covariance
        with the patches, put out as much as they can; of patches that never change nothing.
        """
        factors = self._factored()
        return np.stack(
            [0 * c if f is None else _solved(f, c) for f, c in zip(factors, cross, strict=True)]
        )

    def _factored(self) -> list[tuple[Array, bool] | None]:
        """Each group's covariance, ridged for regression, as Cholesky factors."""
        if self._factors is None:
            self._factors = []
            size = self._conv.patch_size
            ridge = max(REGRESSION_FLOOR, SHRINKAGE * size / max(self._count, 1))
            for inputs in self._centred()[1][:, :size]:
                variance = float(np.trace(inputs)) / size
                ridged = inputs.astype(precision(size))
                ridged[np.diag_indices(size)] += ridge * variance
                self._factors.append(
                    cho_factor(ridged, overwrite_a=True, check_finite=False)
                    if variance > 0
                    else None
                )
        return self._factors

    def _centred(self) -> tuple[Array, Array]:
        """Means (G, d+O/G), and covariances with the patches (G, d+O/G, d)."""
        if self._known is not None:
            return self._known
        self._take_in()
        offset = np.zeros(()) if self._offset is None else self._offset[:, 0].astype(np.float64)
        shift = self._sum / max(self._count, 1)
        self._refuse_infinite(self._products)
        covariance = self._products / max(self._count, 1)
        covariance -= shift[:, :, None] * shift[:, None, : self._conv.patch_size]
        mean = shift + offset
        self._known = mean, _steadied(mean, covariance)
        return self._known

    def _refuse_infinite(self, found: Array) -> None:
        if not np.isfinite(found).all():
            raise ModelError(
                f"the samples make numbers at {self._conv.name} that are not finite, or too large "
                "to square",
                hint="see whether they are prepared as the network was trained: --image-scale, "
                "--image-mean, --image-std",
            )


def _solved(factor: tuple[Array, bool], cross: Array) -> Array:
    """Rows (n, d) times the inverse of what was factored."""
    halves = np.array_split(cross.astype(factor[0].dtype, copy=False), 2)
    found = side_by_side(lambda half: cho_solve(factor, half.T, check_finite=False).T, halves)
    return np.concatenate(found)


def _level(rows: Array) -> Array:
    """The mean of rows (G, N, m), rounded so that of equal numbers it is that number: (G, 1, m)."""
    mean = rows.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    level: Array = np.clip(mean, rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True))
    return level


def _steadied(mean: Array, covariance: Array) -> Array:
    """Covariances (G, m, d) of numbers (G, m) with the inputs among them (G, d), in place: nothing
    where an input never changes but for rounding.
    """
    size = covariance.shape[-1]
    variance = np.diagonal(covariance, axis1=1, axis2=2)  # (G, d)
    changes = variance > np.maximum((STILL * mean[:, :size]) ** 2, LEAST_VARIANCE)
    if not changes.all():
        covariance *= changes[:, None, :]
        covariance[:, :size] *= changes[:, :, None]
    return covariance
