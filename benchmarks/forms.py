"""One plan carried out in four ways, as METHODS E.3 compares them.

From the weights alone, as the papers do it (masks, for the families that leave weights out); the
same with the means of its input put right in the biases; each convolution fitted to the covariance
of its input in the original network; and the product, each re-fitted to what the rewritten network
feeds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from threadpoolctl import threadpool_limits

import edgecc
from edgecc import bundle, catalog, model, shapes
from edgecc.calibration.cache import StatisticsCache
from edgecc.calibration.collect import Layer, collect
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.calibration.samples import Samples
from edgecc.plan import Plan
from edgecc.rewrite import ConvRewrite

FORMS = {
    "weights": "weights alone",
    "bias": "+ bias",
    "oneshot": "one-shot",
    "refit": "re-fitted",
}


def other_forms(built: edgecc.Build, source: Path, calib: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name of each form but the product's, and the model that it gives.

    `built` is the product's build of the network `source`, planned with the samples in `calib`.
    """
    yield "weights", _from_weights(built, source)
    plan = Plan.read(built.folder / bundle.PLAN, catalog.passes())
    network = _prepared(source)
    samples = Samples.read(calib, network, Preprocessing())
    cache = StatisticsCache(plan.model_sha256, samples.data.sha256, "benchmarks/forms.py")
    for name in ("bias", "oneshot"):
        folder = built.folder.parent / name
        folder.mkdir(exist_ok=True)
        layers = collect(network, samples.feeds, folder, cache)
        small = _one_shot(network.clone(), layers, plan.steps, covariances=name == "oneshot")
        yield name, bundle.save_model(small, folder / bundle.MODEL)


def _one_shot(
    network: ir.Model,
    layers: Iterable[Layer],
    steps: Mapping[str, ConvRewrite | None],
    *,
    covariances: bool,
) -> ir.Model:
    """Rewrite a copy of the network that `layers` are of; without covariances, from means."""
    nodes = {node.name: node for node in network.graph}
    with threadpool_limits(limits=1, user_api="blas"):
        for layer in layers:
            if step := steps.get(layer.node.name or ""):
                known = layer.statistics
                known = known if covariances else replace(known, covariance=None)
                _further(step.apply(nodes[layer.node.name], statistics=known)[1], steps)
        catalog.tidy().run(network)
    return network


def _from_weights(built: edgecc.Build, source: Path) -> Path:
    """Follow the plan of `built` with no samples."""
    plan = json.loads((built.folder / bundle.PLAN).read_text())
    path = built.folder.parent / "weights.json"
    path.write_text(json.dumps({**plan, "calibration": None}))
    alone = edgecc.build(source, plan=path, out=built.folder.parent / "weights")
    return alone.folder / bundle.MODEL


def _prepared(source: Path) -> ir.Model:
    network = model.load(source)
    shapes.settle(network, {}, dynamic=True)
    catalog.prepare().run(network)
    return network


def _further(made: list[ir.Node], steps: Mapping[str, ConvRewrite | None]) -> None:
    """Rewrite what a rewrite made, where the plan says so; from its weights."""
    for node in made:
        step = steps.get(node.name or "")
        if step is not None:
            _further(step.apply(node)[1], steps)
