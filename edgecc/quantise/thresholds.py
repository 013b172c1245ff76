"""Where to cut an activation off: the magnitude that int8's 127 stands for.

minmax      the greatest that was seen: nothing is cut
percentile  99.99 % of what is not zero lies below
entropy     the distribution changes least, by Kullback and Leibler (Migacz, "8-bit inference with
            TensorRT", GTC 2017: TensorRT's own way)
mse         the mean square of what rounding and cutting change is least
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
BINS = 2048
LEVELS = 127
"""Positive steps of int8, as TensorRT uses it: -127 to 127, zero in the middle."""
BELOW = 0.9999
NOTHING = 1e-30
"""Magnitudes up to this are taken for zero: a scale of it would not be one in float32."""
Counts = npt.NDArray[np.int64]


def threshold(counts: Counts, amax: float, method: Method) -> float:
    """Return the magnitude at which to cut off; 1 where there was nothing but zeros.

    `counts` (BINS,) are magnitudes from 0 to `amax`, zeros left out.
    """
    if amax <= NOTHING or not counts.any():
        return 1.0
    if method == "minmax":
        return amax
    bins = {"percentile": _percentile, "entropy": _entropy, "mse": _least_squares}[method](counts)
    return amax * bins / BINS


def _percentile(counts: Counts) -> int:
    below = np.cumsum(counts) / counts.sum()
    return int(np.searchsorted(below, BELOW)) + 1


def _least_squares(counts: Counts) -> int:
    """Rounding changes a number by a twelfth of the squared step, cutting by what is cut off."""
    centres = np.arange(BINS) + 0.5
    cuts = np.arange(BINS // 16, BINS + 1, BINS // 256)
    above = [np.sum(counts[cut:] * (centres[cut:] - cut) ** 2) for cut in cuts]
    rounded = np.cumsum(counts)[cuts - 1] * (cuts / LEVELS) ** 2 / 12
    return int(cuts[np.argmin(rounded + above)])


def _entropy(counts: Counts) -> int:
    best, chosen = np.inf, BINS
    for cut in range(LEVELS + 1, BINS + 1, BINS // 128):
        clipped = counts[:cut].astype(np.float64)
        clipped[-1] += counts[cut:].sum()
        edges = np.linspace(0, cut, LEVELS + 2).astype(int)[:-1]
        there = counts[:cut] > 0
        level = np.repeat(np.arange(len(edges)), np.diff([*edges, cut]))
        held = np.add.reduceat(counts[:cut], edges)
        shared = np.maximum(np.add.reduceat(there.astype(int), edges), 1)
        spread = np.where(there, (held / shared)[level], 0.0)
        divergence = _divergence(clipped / clipped.sum(), spread / max(spread.sum(), 1.0))
        if divergence < best:
            best, chosen = divergence, cut
    return chosen


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """KL(p || q), what q lacks taken for a millionth."""
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-6))))
