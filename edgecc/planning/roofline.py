"""Prices from what a board can do at best: wrong by a factor, mostly the same one everywhere."""

from __future__ import annotations

import math
import os

from edgecc.errors import UsageError
from edgecc.layers import Layer
from edgecc.planning.prices import Kind, Prices, kind_of
from edgecc.target import Target

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
PADDED: tuple[Kind, ...] = ("dense", "pointwise")
"""The kinds whose output channels are computed a granule at a time."""


class Roofline(Prices):
    """An operator takes an overhead, and then as long as the slower of arithmetic and memory.

    Weights come from memory, activations too unless they fit into the cache.
    Errors: `edgecc.errors.UsageError` for a target without peaks.
    """

    def __init__(self, target: Target) -> None:
        if target.peaks is None:
            raise UsageError(
                f"the board file of {target.name} has no [peaks] to estimate latency from",
                hint="budget by --macs or --params, add [peaks], or measure prices on the board",
            )
        self._peaks, self._granule = target.peaks, target.granule
        self._cores = _cores(target) if target.peaks.per_core else 1
        self.name = f"roofline of {target.name}, {target.peaks.precision}"
        if target.peaks.per_core:
            self.name += f", {self._cores} core{'s' if self._cores > 1 else ''}"

    def layer_ms(self, layer: Layer) -> float:
        """Return what one operator takes."""
        peaks = self._peaks
        arithmetic_us = 0.0
        if layer.macs:
            reached = peaks.gmacs_per_s * self._efficiency(layer)
            arithmetic_us = layer.macs / (reached * self._cores) / 1e3
        activations, weights, cached = self._bytes(layer)
        speed = peaks.gbytes_per_s
        near = peaks.cache_gbytes_per_s if cached and peaks.cache_gbytes_per_s else speed
        memory_us = (activations / near + weights / speed) / self._cores / 1e3
        return (peaks.overhead_us + max(arithmetic_us, memory_us)) / 1e3

    def layer_mj(self, layer: Layer) -> float:
        """Return the energy of one operator, the board's share for the time it takes included."""
        activations, weights, cached = self._bytes(layer)
        moved = weights if cached else weights + activations
        switched_pj = layer.macs * self._peaks.pj_per_mac + moved * self._peaks.pj_per_byte
        return self._peaks.base_w * self._cores * self.layer_ms(layer) + switched_pj * 1e-9

    def _efficiency(self, layer: Layer) -> float:
        """What is reached of the peak; channels that only fill up a granule count for nothing."""
        kind, of = kind_of(layer), self._peaks.efficiency
        wide_out, wide_in = layer.weight[0] / layer.groups, layer.weight[1]
        if kind == "grouped":
            return min(of.grouped, of.narrow * math.sqrt(wide_in * wide_out))
        reached: float = getattr(of, kind)
        if kind in PADDED:
            reached *= wide_out / (math.ceil(wide_out / self._granule) * self._granule)
        return reached

    def _bytes(self, layer: Layer) -> tuple[float, float, bool]:
        """Activations, weights, and whether the activations stay in the cache."""
        size = BYTES[self._peaks.precision]
        activations = size * (layer.numbers_moved - layer.params)
        return activations, size * layer.params, activations <= self._peaks.cache_mb * 1e6


def _cores(target: Target) -> int:
    if target.cores is not None:
        return target.cores
    return len(os.sched_getaffinity(0)) if target.arch == "host" else 1
