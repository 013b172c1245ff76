"""A network as an explicit QDQ graph: onnxruntime's quantiser, its pairs where TensorRT wants them.

onnxruntime puts a pair before every input of what it is given; `edgecc.quantise.pairs` mends what
TensorRT does not want. Weights keep their float32 numbers, and have a pair with a scale for each
output channel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir

from edgecc.bundle import save_model
from edgecc.conv import constant
from edgecc.errors import BuildError
from edgecc.quantise.bias import correct_biases
from edgecc.quantise.pairs import free_others, join_sums, part_shared
from edgecc.quantise.placement import POOLS, WEIGHTED
from edgecc.quantise.ranges import Channels

OLDEST_OPSET = 13
"""The first whose QuantizeLinear takes a scale for each channel."""


@dataclass(frozen=True)
class Quantised:
    """A QDQ graph, and what of the network computes in int8."""

    path: Path
    layers: tuple[str, ...]
    """The nodes that do."""
    left: Mapping[str, str]
    """The layers with weights that do not, and why."""


def quantise(
    model: Path,
    ranges: Mapping[str, float],
    out: Path,
    keep: Collection[str] = (),
    channels: Mapping[str, Channels] | None = None,
) -> Quantised:
    """Write the network in `model` to `out`, its layers in int8 but for those called in `keep`.

    `ranges` are what int8's 127 stands for, by activation; with `channels`, what these hold, biases
    are corrected for the rounding of weights.
    A network of an opset before 13, which has no scale for each channel, comes out in 13.
    Errors: `edgecc.errors.BuildError` where that cannot be, and for a network in int8 already.
    """
    proto = raised(onnx.load(model), model.name)
    graph = ir.from_proto(proto)
    if any(node.op_type == "QuantizeLinear" for node in graph.graph):
        raise BuildError(
            f"{model.name} is quantised already",
            hint="leave --precision away: its own Q/DQ pairs are taken; or give it in float32",
        )
    chosen, left = _choose(graph, ranges, keep)
    made = _by_onnxruntime(proto, ranges, chosen) if chosen else graph
    free_others(made, set(chosen))
    join_sums(made)
    part_shared(made)
    if channels is not None:
        correct_biases(made, channels)
    made.metadata_props.clear()  # onnxruntime's own notes
    made.producer_name, made.producer_version = "edgecc", version("edgecc")
    return Quantised(save_model(made, out), tuple(chosen), left)


def raised(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return the network at opset 13 at least, all nodes called as they were.

    Errors: `edgecc.errors.BuildError` where ONNX's converter does not take it there.
    """
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset >= OLDEST_OPSET:
        return proto
    try:
        made = onnx.version_converter.convert_version(proto, OLDEST_OPSET)
    except RuntimeError as error:
        raise BuildError(
            f"a QDQ graph needs opset {OLDEST_OPSET}, and {name} cannot go there from {opset}: "
            f"{str(error).splitlines()[0]}",
            hint=f"export the model at opset {OLDEST_OPSET}, or take int8 as a calibration cache",
        ) from None
    for node in made.graph.node:
        node.name = node.name or f"{node.op_type}_{node.output[0]}"
    return made


def layers(model: ir.Model) -> list[str]:
    """Return the names of the nodes whose inputs can be quantised."""
    known = {v.name or "": 1.0 for v in _activations(model)}
    return _choose(model, known, ())[0]


def _activations(model: ir.Model) -> list[ir.Value]:
    made = [value for node in model.graph for value in node.outputs]
    return [*model.graph.inputs, *made]


def _choose(
    graph: ir.Model, ranges: Mapping[str, float], keep: Collection[str]
) -> tuple[list[str], dict[str, str]]:
    """The nodes whose inputs are quantised, and why layers with weights are not."""
    chosen: list[str] = []
    left: dict[str, str] = {}
    for node in graph.graph:
        name = node.name or ""
        if node.domain not in ("", "ai.onnx") or node.op_type not in (*WEIGHTED, *POOLS, "Add"):
            continue
        reason = "it is kept as it is" if name in keep else _refuse(node, ranges)
        if reason is None:
            chosen.append(name)
        elif node.op_type in WEIGHTED:
            left[name] = reason
    return chosen, left


def _refuse(node: ir.Node, ranges: Mapping[str, float]) -> str | None:
    wants = node.inputs if node.op_type == "Add" else node.inputs[:1]
    if any(value is None or value.name not in ranges for value in wants):
        return "what it reads is constant, or no float32"
    if any(value and value.is_graph_input() and value.is_graph_output() for value in wants):
        return "what it reads is an output of the network as well"  # a Q/DQ pair would rename it
    if node.op_type not in WEIGHTED:
        return None
    weight = constant(node.inputs[1])
    if weight is None:
        return "its weights are computed at run time"
    if weight.dtype != np.float32 or not np.isfinite(weight).all():
        return "its weights are not all finite float32 numbers"
    if node.op_type == "MatMul" and weight.ndim != 2:
        return f"its weights have {weight.ndim} dimensions"
    if node.op_type == "ConvTranspose" and node.attributes.get_int("group", 1) > 1:
        return "TensorRT has no int8 for transposed convolutions in groups"
    return None


def _by_onnxruntime(
    network: onnx.ModelProto, ranges: Mapping[str, float], chosen: list[str]
) -> ir.Model:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    proto = onnx.shape_inference.infer_shapes(network)
    add_infer_metadata(proto)
    kinds = [*WEIGHTED, *POOLS, "Add"]
    quantizer = QDQQuantizer(
        proto,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range={n: TensorData(**_bounds(amax)) for n, amax in ranges.items()},
        nodes_to_quantize=chosen,
        nodes_to_exclude=[],
        op_types_to_quantize=kinds,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "QDQDisableWeightAdjustForInt32Bias": True,
            "DedicatedQDQPair": True,
            "ForceQuantizeNoInputCheck": True,
            "OpTypesToExcludeOutputQuantization": kinds,
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
        },
    )
    made: ir.Model = ir.from_proto(quantizer.quantize_model())
    made.graph.sort()
    return made


def _bounds(amax: float) -> dict[str, Any]:
    return {"lowest": np.array(-amax, np.float32), "highest": np.array(amax, np.float32)}
