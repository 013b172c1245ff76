"""What a layer should put out where a ReLU follows: below zero, anything below zero will do.

Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and Detection",
TPAMI 2016, section 2.3: the targets below zero are free, so an auxiliary U takes their place and
is moved, in turns with the weights, between what the layer puts out and what the ReLU makes of
the target. The closed forms are those of the authors' released solver.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from edgecc.calibration.statistics import Statistics
from edgecc.conv import Array, Conv
from edgecc.rewrite import ConvRewrite

SCHEDULE = (0.1,) * 6 + (1.0,) * 4
"""The weight of staying near what the layer puts out, turn by turn."""


def refine(
    rewrite: ConvRewrite,
    wanted: Conv,
    statistics: Statistics,
    patches: Array,
    targets: Array,
    shortcut: Array | None,
) -> Conv:
    """Return the convolution that `rewrite` should be fitted to instead of `wanted`.

    `patches` (N, G, d) and `targets` (N, O) are a sample; `shortcut` (N, O) is what is added
    before the ReLU, and `targets` are then the sum.
    """
    assert statistics.covariance is not None
    factors = [cho_factor(block) for block in statistics.covariance]
    centred = patches - statistics.mean.astype(patches.dtype)
    added = 0.0 if shortcut is None else shortcut
    above = np.maximum(targets, 0)
    best, least = wanted, np.inf
    for pull in SCHEDULE:
        made = _output(rewrite, wanted, statistics, centred) + added
        loss = float(np.mean((np.maximum(made, 0) - above) ** 2))
        if loss < least:
            best, least = wanted, loss
        below = np.minimum(made, 0)
        inside = np.maximum(0, (pull * made + above) / (pull + 1))
        stay = above**2 + pull * (below - made) ** 2
        move = (inside - above) ** 2 + pull * (inside - made) ** 2
        auxiliary = np.where(stay <= move, below, inside) - added
        wanted = _regressed(wanted, factors, statistics, centred, auxiliary)
    return best


def _output(rewrite: ConvRewrite, wanted: Conv, statistics: Statistics, centred: Array) -> Array:
    """What the rewritten layer puts out on centred patches: (N, O)."""
    weight = rewrite.project(wanted, statistics).weight.astype(centred.dtype)
    level = np.einsum("gnd,gd->gn", wanted.matrix(), statistics.mean).ravel()
    if wanted.bias is not None:
        level = level + wanted.bias
    made = np.einsum("Ngd,gnd->Ngn", centred, weight, optimize=True)
    found: Array = made.reshape(len(centred), -1) + level.astype(centred.dtype)
    return found


def _regressed(
    conv: Conv, factors: list[tuple[Array, bool]], statistics: Statistics, centred: Array, to: Array
) -> Conv:
    """The convolution nearest to the outputs `to` (N, O), pulled towards `conv` by the ridge."""
    count, groups = len(centred), conv.groups
    level = to.mean(axis=0)
    rows = (to - level).reshape(count, groups, -1)
    weights = []
    for group, weight in enumerate(conv.matrix()):
        x = centred[:, group]
        gap = rows[:, group] - x @ weight.T.astype(x.dtype)
        cross = (gap.T @ x / count).astype(np.float64)  # (n, d)
        weights.append(weight + cho_solve(factors[group], cross.T).T)
    new = np.stack(weights)
    bias = level - np.einsum("gnd,gd->gn", new, statistics.mean).ravel()
    return replace(conv, weight=new.reshape(conv.weight.shape), bias=bias)
