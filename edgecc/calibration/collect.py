"""One pass over the calibration samples: the statistics of every layer's input, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgecc.calibration.cache import StatisticsCache
from edgecc.calibration.moments import Moments
from edgecc.calibration.order import is_layer, shortcuts_first
from edgecc.calibration.patches import Sampler
from edgecc.calibration.replay import Replay
from edgecc.calibration.statistics import Statistics
from edgecc.calibration.targets import passed_of
from edgecc.conv import Conv, read
from edgecc.target import Arrays

MOST_INPUTS = 8192
"""Layers that see more numbers than this have no covariance: it would take gigabytes."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of the network and what is known of its input."""

    node: ir.Node
    conv: Conv
    statistics: Statistics


def collect(
    model: ir.Model,
    feeds: Sequence[Arrays],
    scratch: Path,
    cache: StatisticsCache,
    tell: Callable[[str], None] = lambda name: None,
) -> Iterator[Layer]:
    """Yield every Conv and Gemm with constant weights, with the statistics of its input.

    Whoever reads them decides what to keep: here they are dropped layer by layer. The same
    numbers come from the cache and from the samples.
    Errors: `edgecc.errors.ModelError` where onnxruntime cannot run a piece of the network.
    """
    layers = _layers(model)
    start = 0
    while cache.complete and start < len(layers):
        found = cache.get(start)
        if found is None:
            break
        yield Layer(*layers[start], found)
        start += 1
    if start == len(layers):
        return
    yield from _measured(model, feeds, scratch, cache, layers, tell, start)


def seen_by(model: ir.Model) -> str:
    """Return a digest of what the statistics of a prepared model are of: its layers' places."""
    digest = hashlib.sha256()
    for node, conv in _layers(model):
        x = node.inputs[0].name if node.inputs[0] is not None else ""
        digest.update(f"{node.name} {x} {conv.weight.shape} {conv.window} {conv.groups}\n".encode())
    return digest.hexdigest()


def _layers(model: ir.Model) -> list[tuple[ir.Node, Conv]]:
    """The layers that have a covariance, in the order in which they are looked at."""
    model.graph.sort()
    found = ((node, read(node)) for node in shortcuts_first(model.graph) if is_layer(node))
    return [
        (node, conv)
        for node, conv in found
        if isinstance(conv, Conv) and conv.patch_size <= MOST_INPUTS
    ]


def _measured(
    model: ir.Model,
    feeds: Sequence[Arrays],
    scratch: Path,
    cache: StatisticsCache,
    layers: Sequence[tuple[ir.Node, Conv]],
    tell: Callable[[str], None],
    start: int,
) -> Iterator[Layer]:
    """Run the network; layers that see the same patches one after the other share statistics."""
    wanted = {id(node): index for index, (node, _) in enumerate(layers)}
    replay = Replay(model, feeds, scratch)
    last: tuple[object, Statistics] | None = None
    try:
        for node in replay.stops(lambda node: id(node) in wanted):
            index = wanted[id(node)]
            conv = layers[index][1]
            tell(node.name or "")
            name = node.inputs[0].name if node.inputs[0] else ""
            sees = (name, conv.kernel, conv.window, conv.groups)
            if last is None or last[0] != sees:
                moments = Moments(conv, targets=False)
                for part in Sampler(conv).over(replay.before(name or "")):
                    moments.add(*part)
                last = sees, _as_kept(moments.statistics())
            found = replace(last[1], passed=passed_of(replay, node.outputs[0]))
            cache.put(index, found)
            if index >= start:
                yield Layer(node, conv, found)
        cache.finish()
    finally:
        cache.abandon()


def _as_kept(statistics: Statistics) -> Statistics:
    """Rounded as the cache rounds."""
    covariance = statistics.covariance
    assert covariance is not None
    rounded = covariance.astype(np.float32, copy=False).astype(covariance.dtype, copy=False)
    return Statistics(statistics.mean, rounded, statistics.patches)
