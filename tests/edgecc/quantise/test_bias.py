"""Biases corrected for what rounding weights does to means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import normal, parse
from sampled import batches, copy_of, samples

from edgecc.bundle import save_model
from edgecc.quantise.placement import placement_problems
from edgecc.quantise.qdq import quantise
from edgecc.quantise.ranges import ranges, scan
from edgecc.quantise.simulate import Simulated

X = np.abs(samples(24)) + np.float32(2)
"""Far from centred: all that rounding does is a shift."""
WEIGHTS = {
    "w": normal(6, 4, 3, 3),
    "b": normal(6),
    "d": normal(4, 1, 3, 3),
    "g": normal(6, 2, 1, 1),
    "m": normal(5, 400),
    "mt": normal(400, 5),
    "c": normal(1),
}


@pytest.mark.parametrize(
    "layer",
    [
        "y = Conv(x, w, b)",
        "y = Conv(x, w)",
        "y = Conv <group=4> (x, d)",
        "y = Conv <group=2> (x, g)",
    ],
)
def test_means_come_back(tmp_path: Path, layer: str) -> None:
    model = parse(f"g (float[N,4,10,10] x) => (float[A,B,C,D] y) {{ {layer} }}", WEIGHTS)
    assert shift(model, tmp_path, corrected=True) < 0.2 * shift(model, tmp_path, corrected=False)


@pytest.mark.parametrize("layer", ["y = Gemm <transB=1> (q, m, c)", "y = Gemm(q, mt)"])
def test_fully_connected_layers_too(tmp_path: Path, layer: str) -> None:
    text = f"g (float[N,4,10,10] x) => (float[A,B] y) {{ q = Flatten(x) {layer} }}"
    model = parse(text, WEIGHTS)
    assert shift(model, tmp_path, corrected=True) < 0.2 * shift(model, tmp_path, corrected=False)


def shift(model: onnx.ModelProto, folder: Path, *, corrected: bool) -> float:
    """How far the mean of the output's channels is from that in float32, on exact inputs."""
    path = save_model(copy_of(model), folder / "model.onnx")
    channels = scan(path, batches(X, 8)) if corrected else None
    cuts = ranges(path, batches(X, 8), "minmax")
    made = quantise(path, cuts, folder / "int8.onnx", channels=channels).path
    assert placement_problems(ir.load(made)) == []
    step = np.float32(max(cuts["x"], cuts.get("q", 0.0)) / 127)
    exact = np.round(X / step) * step
    with Simulated(path) as whole, Simulated(made) as narrow:
        gap = narrow.run({"x": exact})["y"] - whole.run({"x": exact})["y"]
    means = gap.mean(axis=(0, *range(2, gap.ndim)))
    return float(np.abs(means).mean())
