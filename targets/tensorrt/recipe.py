"""How a board builds its engine: the `engine` of device.json, and the passes that lead to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from edgecc.target import CALIBRATION, INT8_MODEL, EngineWish, Target
from targets.tensorrt import dla
from targets.tensorrt.operators import support
from targets.tensorrt.versions import Release, release

HAVE_FORMS = (
    *("Celu", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "LayerNormalization"),
    *("Mish", "RMSNormalization", "Shrink", "Swish", "ThresholdedRelu"),
)
"""Operators that the pass `expand_operators` makes of others."""
FLOATS = ("fp16", "fp32")
"""Precisions that a network with Q/DQ pairs of its own cannot be built in: it asks for INT8."""


def legalisation(reads: Release, board: str, *, on_dla: bool) -> str:
    """Return the passes after which `reads` of a board can read a model.

    For the DLA, what it would leave to the GPU takes forms that it has, where they are exact.
    """
    lacks = [name for name in HAVE_FORMS if not _has(reads, name)]
    reader = f"TensorRT {reads.name} of {board}"
    steps = [
        *([dla.KEEPS] if on_dla else []),
        "float_biases",
        *([] if reads.at_least(8, 0) else ["infer_shapes, pads_to_concat"]),
        *([f"expand_operators(operators={' '.join(lacks)})"] if lacks else []),
        f"lower_opset(opset={reads.opset_max}, reader={reader})",
        "infer_shapes, fold_constants, remove_identities, remove_unused",
        *([] if reads.at_least(10, 0) else ["narrow_int64"]),  # from 10 on it has INT64
        "sanitise_names, infer_shapes",
    ]
    return ", ".join(steps)


def _has(reads: Release, operator: str) -> bool:
    since = support.SINCE.get(operator)
    return since is not None and reads.number >= since


def engine_model(model: Path, *, on_dla: bool) -> Path:
    """Return what the engine is built from: the model with Q/DQ pairs, where there is one and its
    reader takes it.
    """
    quantised = model.with_name(INT8_MODEL)
    return quantised if quantised.exists() and not on_dla else model


def engine(model: Path, target: Target, wish: EngineWish, kept: Sequence[str]) -> dict[str, Any]:
    """Return how the engine of `model` is built: what the agent's `build` reads.

    `tensorrt` are the releases of the board that read the model's opset, the wished one first;
    `kept` are nodes that stay in float; `nodes`, how many there are, is what the board estimates
    its building time from.
    """
    network = onnx.load(model, load_external_data=False)
    opset = next((o.version for o in network.opset_import if o.domain in ("", "ai.onnx")), 0)
    weights = {tensor.name for tensor in network.graph.initializer}
    inputs = [value for value in network.graph.input if value.name not in weights]
    versions = target.engine.versions if target.engine else ()
    readers = [name for name in versions if release(name).opset_max >= opset]
    calibration = model.with_name(CALIBRATION)
    explicit = model.name == INT8_MODEL
    pairs = any(node.op_type == "QuantizeLinear" for node in network.graph.node)
    return {
        "tensorrt": sorted(readers, key=lambda name: name != wish.tensorrt),
        "precision": "int8" if pairs and wish.precision in FLOATS else wish.precision,
        "dla": wish.dla,
        "shapes": {
            value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
            for value in inputs
        },
        "profile": None,
        "calibration": CALIBRATION if calibration.exists() and not explicit else None,
        "layers_fp32": sorted(kept) if not explicit else [],
        "opset": opset,
        "nodes": len(network.graph.node),
    }
