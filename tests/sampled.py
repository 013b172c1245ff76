"""Inputs that hang together, and small networks calibrated and rewritten on them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from helpers import outputs

from edgecc import catalog
from edgecc.calibration.refit import SequentialRefit
from edgecc.rewrite import ConvRewrite, Decision

Choose = Callable[[str, ConvRewrite | None], Sequence[ConvRewrite]]


def samples(count: int, channels: int = 4, size: int = 10, seed: int = 0) -> np.ndarray:
    """Noise that is smooth in space, mixed over channels and off centre: (N, C, H, W) float32."""
    random = np.random.default_rng([7, channels])
    mix = random.standard_normal((channels, channels)) / np.arange(1, channels + 1)
    noise = np.random.default_rng(seed).standard_normal((count, channels, size + 2, size + 2))
    smooth = sum(noise[:, :, i : i + size, j : j + size] for i in range(3) for j in range(3)) / 3
    return (np.einsum("cd,ndhw->nchw", mix, smooth) + 0.5).astype(np.float32)


def copy_of(model: onnx.ModelProto) -> ir.Model:
    """A copy to rewrite, its nodes named after what they make and its values typed."""
    proto = onnx.ModelProto.FromString(model.SerializeToString())
    for node in proto.graph.node:
        node.name = f"{node.op_type}_{node.output[0]}"
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def batches(x: np.ndarray, size: int) -> list[dict[str, np.ndarray]]:
    """The samples as feeds of the input x."""
    return [{"x": x[start : start + size]} for start in range(0, len(x), size)]


def everywhere(text: str) -> Choose:
    """Choose one rewrite for each of the network's own convolutions."""
    (rule,) = catalog.pipeline(text).passes
    assert isinstance(rule, ConvRewrite)
    return lambda name, by: [rule] if by is None else []


def only(**texts: str) -> Choose:
    """Choose rewrites by the names of convolutions."""
    rules = {name: catalog.pipeline(text).passes for name, text in texts.items()}
    return lambda name, by: rules.get(name, ())  # type: ignore[return-value]


def sequential(
    model: onnx.ModelProto, x: np.ndarray, choose: Choose, *, size: int = 8, **options: Any
) -> tuple[ir.Model, list[Decision]]:
    """Rewrite a copy of `model`, each layer fitted to what the rewritten network feeds it."""
    copy = copy_of(model)
    with tempfile.TemporaryDirectory() as scratch:
        walk = SequentialRefit(copy, batches(x, size), choose, Path(scratch), **options)
        decisions = walk.run()
    onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    return copy, decisions


def values(model: onnx.ModelProto | ir.Model, x: np.ndarray, *names: str) -> list[np.ndarray]:
    """What onnxruntime computes of inner values."""
    proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model)
    whole = onnx.ModelProto.FromString(proto.SerializeToString())
    there = {value.name for value in whole.graph.output}
    for name in names:
        if name not in there and name != "x":
            whole.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
    found = {"x": x, **outputs(whole, x=x)}
    return [found[name] for name in names]


def moved(before: onnx.ModelProto, after: ir.Model, x: np.ndarray, output: str = "y") -> float:
    """The squared error of an output over its variance."""
    reference = outputs(before, x=x)[output].astype(np.float64)
    found = outputs(after, x=x)[output]
    return float(np.mean((reference - found) ** 2) / np.var(reference))
