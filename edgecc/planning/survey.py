"""Looks at a network once: what each convolution could become, and how the output feels it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgecc.calibration.cache import StatisticsCache
from edgecc.calibration.collect import Layer, collect
from edgecc.conv import is_convolution
from edgecc.layers import Sizes
from edgecc.planning.sensitivity import Probe, measure, probe
from edgecc.planning.table import Row, tabulate
from edgecc.rewrite import ConvRewrite
from edgecc.target import Arrays

FELT_LEAST, FELT_MOST = 2, 64
"""Samples on which the output is watched: the sensitivities are averages over all its numbers."""
FELT_MACS = 5e11
"""Multiply-adds that watching may take, half a minute at worst, if there are samples left."""


@dataclass(frozen=True)
class Survey:
    """The rows of a network's convolutions, and their weights."""

    rows: list[Row]
    weights: dict[str, float]
    """By convolution, how far the output moves for a share of that convolution's energy."""


def survey(
    model: ir.Model,
    feeds: Sequence[Arrays],
    families: Sequence[ConvRewrite],
    sizes: Mapping[str, Sizes],
    granule: int,
    scratch: Path,
    cache: StatisticsCache,
    tell: Callable[[str], None] = lambda name: None,
    *,
    patient: bool = False,
    macs: int = 0,
) -> Survey:
    """Calibrate on `feeds` and try every family on every convolution in `sizes`.

    `macs` are the network's, by which the sensitivities are limited in time.

    Errors: `edgecc.errors.ModelError` where onnxruntime cannot run a piece of the network.
    """
    probes: dict[str, Probe] = {}

    def note(layer: Layer) -> None:
        if is_convolution(layer.node) and (found := probe(layer)) is not None:
            probes[layer.node.name or ""] = found

    layers = collect(model, feeds, scratch, cache, tell)
    rows = list(tabulate(layers, families, sizes, granule, patient=patient, also=note))
    probes = {name: probes[name] for name in sorted(probes)}
    affordable = int(FELT_MACS / max(1, macs * len(probes)))
    batch = model.graph.inputs[0].shape
    cut = batch is None or not isinstance(batch[0], int)
    felt = list(_first(feeds, min(max(FELT_LEAST, affordable), FELT_MOST), cut=cut))
    return Survey(rows, measure(model, probes, felt, scratch))


def _first(feeds: Sequence[Arrays], count: int, *, cut: bool) -> Iterator[Arrays]:
    """The first `count` samples, or the batches that hold them where these cannot be cut."""
    for feed in feeds:
        size = len(next(iter(feed.values())))
        if size > count and cut:
            yield {name: array[:count] for name, array in feed.items()}
            return
        yield feed
        count -= size
        if count <= 0:
            return
