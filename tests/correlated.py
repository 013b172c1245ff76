"""Statistics of inputs that hang together, for what decompositions do under them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecc.calibration.statistics import Statistics
from edgecc.conv import Conv, read
from edgecc.rewrite import ConvRewrite, Decision, Projection

ROOT = Path(__file__).resolve().parent.parent


def oracle() -> Any:
    """The independent solvers of tools/reference/wls.py, or a skip with the reason."""
    tools = Path(os.environ.get("EDGECC_TOOLS") or ROOT.parent / "shared" / "tools")
    file = tools / "reference" / "wls.py"
    if not file.exists():
        pytest.skip(f"the reference solvers are not at {file}; EDGECC_TOOLS says where")
    spec = importlib.util.spec_from_file_location("wls", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def conv_of(model: onnx.ModelProto) -> Conv:
    """The only convolution of a model."""
    found = read(ir.from_proto(model).graph[0])
    assert isinstance(found, Conv)
    return found


def correlated(conv: Conv, *, dead: tuple[int, ...] = (), twins: bool = False) -> Statistics:
    """Rectified, mixed noise with a mean; `dead` channels of each group stay 0, `twins` make the
    second half of the channels equal to the first.
    """
    random = np.random.default_rng(5)
    channels, taps = int(conv.weight.shape[1]), conv.taps
    means, covariances = [], []
    count = 8 * conv.patch_size
    for _ in range(conv.groups):
        mix = random.standard_normal((channels, channels)) / np.arange(1, channels + 1)
        place = 0.8 ** np.abs(np.subtract.outer(np.arange(taps), np.arange(taps)))
        noise = random.standard_normal((count, channels, taps)) @ np.linalg.cholesky(place).T
        patches = np.maximum(np.einsum("cd,ndt->nct", mix, noise), 0)
        patches[:, list(dead)] = 0
        if twins:
            patches[:, channels // 2 :] = patches[:, : channels // 2]
        flat = patches.reshape(count, -1)
        means.append(flat.mean(axis=0))
        covariances.append(np.cov(flat.T).reshape(flat.shape[1], -1))
    return Statistics.of_moments(np.stack(means), np.stack(covariances), 10**6)


def lost(conv: Conv, statistics: Statistics, weight: np.ndarray) -> float:
    """The share of the output's energy that W' = `weight` (G, O/G, d) loses."""
    blocks = list(statistics.blocks(conv))
    if (scales := statistics.scales(conv)) is not None:
        weight = weight * scales[:, :, None]
    off = sum(b.energy(b.weight - w) for b, w in zip(blocks, weight, strict=True))
    return off / sum(b.energy(b.weight) for b in blocks)


def refitted(conv: Conv, statistics: Statistics, support: np.ndarray) -> np.ndarray:
    """Least squares, one filter at a time, with the weights allowed in `support` (G, O/G, d)."""
    weight = np.zeros(support.shape)
    for group, block in enumerate(statistics.blocks(conv)):
        s = block.dense_covariance
        for row, kept in enumerate(support[group]):
            cross = (block.weight[row] @ s)[kept]
            weight[group, row, kept] = np.linalg.solve(s[np.ix_(kept, kept)], cross)
    return weight


def rewrite(
    model: onnx.ModelProto, rule: ConvRewrite, statistics: Statistics | None = None
) -> tuple[ir.Model, Decision]:
    """Apply a rewrite to the only convolution of a copy of `model`."""
    copy = ir.from_proto(onnx.ModelProto.FromString(model.SerializeToString()))
    return copy, rule.apply(copy.graph[0], statistics=statistics)[0]


def dense_again(
    model: onnx.ModelProto, projection: Projection, statistics: Statistics
) -> onnx.ModelProto:
    """The model with the weights that a projection multiplies out to, and their best bias."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    conv, stored = conv_of(model), {t.name: t for t in copy.graph.initializer}
    weight = projection.weight.reshape(conv.weight.shape)
    stored["w"].raw_data = weight.astype(conv.weight.dtype).tobytes()
    moved = np.einsum("gnd,gd->gn", conv.matrix() - projection.weight, statistics.mean).ravel()
    assert conv.bias is not None
    stored["b"].raw_data = (conv.bias + moved).astype(conv.weight.dtype).tobytes()
    return copy
