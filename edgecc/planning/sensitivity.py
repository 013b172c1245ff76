"""How much the network's output feels an error in each layer, measured.

Each layer in turn loses the least of its output's principal components, some 5 % of the energy,
as a decomposition would; how far the outputs move, over what was lost, is its weight. A single
filter has no components to lose, and shrinks instead. No labels, no gradients: what the output
feels is seen in onnxruntime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from scipy.linalg import solve_triangular

from edgecc.bundle import save_model
from edgecc.calibration.collect import Layer
from edgecc.calibration.refit import refit
from edgecc.calibration.statistics import Block
from edgecc.conv import Array, Conv, read
from edgecc.errors import ModelError
from edgecc.rewrite import corrected_bias
from edgecc.target import Arrays

LOST = 0.05
"""The share of a layer's output energy that is taken away."""
SMOOTHING = 0.1
"""Weights are pulled towards their mean by this share: a layer that the samples do not feel may
still matter for others."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Other numbers for a layer, and the share of its output's energy that they lose."""

    weight: Array
    bias: Array
    lost: float


def probe(layer: Layer) -> Probe | None:
    """Return `layer` with the tail of its output's components lost.

    None where there is nothing to lose (no output ever changes), and for depthwise convolutions,
    which no plan rewrites.
    """
    conv = layer.conv
    if conv.is_depthwise:
        return None
    blocks = list(layer.statistics.blocks(conv))
    parts, lost = zip(*map(_diminished, blocks), strict=True)
    if sum(lost) <= 0:
        return None
    weight = np.stack(parts)
    if (scales := layer.statistics.scales(conv)) is not None:
        weight = weight / scales[:, :, None]
    bias = corrected_bias(conv, weight, layer.statistics)
    dtype = conv.weight.dtype
    return Probe(
        weight.reshape(conv.weight.shape).astype(dtype),
        np.zeros(conv.out_channels, dtype) if bias is None else bias.astype(dtype),
        sum(lost) / sum(block.energy(block.weight) for block in blocks),
    )


def _diminished(block: Block) -> tuple[Array, float]:
    """The filters of one group (n, d) with something lost, and its energy."""
    if len(block.weight) == 1:
        return (1 - LOST**0.5) * block.weight, LOST * block.energy(block.weight)
    gram, root = block.gram()
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    cut = int(np.searchsorted(np.cumsum(values), LOST * values.sum(), side="right"))
    cut = min(max(cut, 1), len(values) - 1)
    kept, lost = vectors[:, cut:], float(values[:cut].sum())
    if len(gram) == len(block.weight):
        return kept @ (kept.T @ block.weight), lost
    if root is None:
        return (block.weight @ kept) @ kept.T, lost
    back = solve_triangular(root, kept, lower=True, trans=1, check_finite=False)
    return (block.weight @ root @ kept) @ back.T, lost


def measure(
    model: ir.Model, probes: Mapping[str, Probe], feeds: Sequence[Arrays], scratch: Path
) -> dict[str, float]:
    """Return by layer how far the outputs move for each share of the layer's energy lost:
    `E |out' - out|^2 / E |out|^2 / share`, smoothed, 1 on average.

    A softmax at the end is left out: what it makes certain it makes insensitive too.
    Errors: `edgecc.errors.ModelError`.
    """
    if not probes:
        return {}
    session, inputs = _open(model, probes, scratch)
    names = [output.name for output in session.get_outputs()]
    reference = [session.run(names, feed) for feed in feeds]
    found = {}
    for name, probe in probes.items():
        changed = dict(zip(inputs[name], (probe.weight, probe.bias), strict=True))
        moved = [session.run(names, {**feed, **changed}) for feed in feeds]
        found[name] = _distance(reference, moved) / probe.lost
    mean = float(np.mean(list(found.values())))
    if not np.isfinite(mean) or mean <= 0:
        return dict.fromkeys(probes, 1.0)
    return {name: SMOOTHING + (1 - SMOOTHING) * weight / mean for name, weight in found.items()}


def _open(
    model: ir.Model, probes: Mapping[str, Probe], scratch: Path
) -> tuple[Any, dict[str, tuple[str, str]]]:
    """A session that takes weights of the probed layers along with the inputs; by layer, the
    names of its weight and bias there.
    """
    import onnxruntime

    copy = model.clone()
    inputs = {}
    for node in list(copy.graph):
        if (probe := probes.get(node.name or "")) is None:
            continue
        conv = read(node)
        assert isinstance(conv, Conv)  # it was probed
        refit(node, conv if conv.bias is not None else replace(conv, bias=0 * probe.bias))
        given = [value for value in node.inputs[1:3] if value is not None]
        copy.graph.inputs.extend(given)
        inputs[node.name or ""] = (given[0].name or "", given[1].name or "")
    for index, output in enumerate(copy.graph.outputs):
        producer = output.producer()
        if producer is not None and producer.op_type == "Softmax" and producer.inputs[0]:
            copy.graph.outputs[index] = producer.inputs[0]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    path = save_model(copy, scratch / "probed.onnx")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises a type of its own for each status
        raise ModelError(f"onnxruntime cannot run the model: {str(error)[:300]}") from None
    return session, inputs


def _distance(reference: Sequence[Sequence[Array]], moved: Sequence[Sequence[Array]]) -> float:
    """The relative squared error of the outputs, averaged over them."""
    ratios = []
    for output in range(len(reference[0])):
        pairs = [(a[output], b[output]) for a, b in zip(reference, moved, strict=True)]
        pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
        energy = sum(float(np.sum((a - a.mean()) ** 2)) for a, _ in pairs)
        gap = sum(float(np.sum((a - b) ** 2)) for a, b in pairs if a.shape == b.shape)
        ratios.append(gap / energy if energy > 0 else 0.0)
    return float(np.mean(ratios)) if ratios else 0.0
