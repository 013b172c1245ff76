"""Inputs that hang together, and small networks calibrated, planned and rewritten on them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from helpers import outputs

from edgecc import catalog
from edgecc.calibration.data import CalibrationData
from edgecc.calibration.refit import SequentialRefit
from edgecc.calibration.samples import Samples
from edgecc.cost import Cost, count, input_sizes
from edgecc.plan import Plan
from edgecc.planning.costs import Selection
from edgecc.planning.make import Subject, planner_of
from edgecc.planning.planner import Planner
from edgecc.rewrite import ConvRewrite, Decision
from edgecc.rewriting import Rewriting

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


@dataclass(frozen=True)
class Planned:
    """A network, what could become of it, and what it costs."""

    model: onnx.ModelProto
    planner: Planner
    samples: Samples
    whole: Cost

    def rewritten(self, selection: Selection) -> ir.Model:
        """The network rewritten as selected, and tidied up."""
        copy = copy_of(self.model)
        with tempfile.TemporaryDirectory() as scratch:
            Rewriting(Plan("0", selection.steps), self.samples).run(copy, [], Path(scratch))
        catalog.tidy().run(copy)
        return copy

    def cost_of(self, selection: Selection) -> Cost:
        """What the network costs as rewritten, counted on the graph."""
        return cost_of(self.rewritten(selection), self.samples.data.arrays["x"])


def cost_of(model: ir.Model, x: np.ndarray) -> Cost:
    """Multiply-adds of one sample, and parameters, counted on the graph."""
    return count(model, {"x": (1, *x.shape[1:])}, catalog.infer_shapes).total


def samples_of(x: np.ndarray, size: int = 16) -> Samples:
    """Calibration samples for the input x."""
    digest = hashlib.sha256(x.tobytes()).hexdigest()
    return Samples(CalibrationData("x.npz", digest, {"x": x}), batches(x, size))


def planned(
    model: onnx.ModelProto,
    x: np.ndarray,
    families: str | None = "basis, spatial_svd",
    *,
    granule: int = 2,
    target: str = "host",
) -> Planned:
    """Survey a network on samples, in batches of 16."""
    copy, found = copy_of(model), samples_of(x)
    sizes = input_sizes(copy, {"x": (1, *x.shape[1:])}, catalog.infer_shapes)
    whole = cost_of(copy, x)
    digest = hashlib.sha256(model.SerializeToString()).hexdigest()
    with tempfile.TemporaryDirectory() as scratch:
        planner = planner_of(
            Subject(copy, digest, whole, sizes),
            found,
            catalog.families(families),
            catalog.prices(catalog.target(target)),
            granule,
            Path(scratch),
            lambda text: None,
        )
    return Planned(model, planner, found, whole)
