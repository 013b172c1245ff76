"""device.json: what a device is told of the bundle that it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecc.bundle import MODEL
from edgecc.model import sha256
from edgecc.oracle import spec, specs
from edgecc.target import Artifact, Target, TensorSpec

NAME = "device.json"
SCHEMA_VERSION = 1


def describe(folder: Path, graph: ir.Model, board: Target, artifact: Artifact) -> dict[str, Any]:
    """Return what the agent reads of the bundle in `folder`: the runner, the inputs, the board.

    With an engine to build, the model is the one that it is built from.
    """
    engine = artifact.details.get("engine")
    model = artifact.details.get("engine_model", MODEL)
    jetson = board.jetson
    return {
        "schema_version": SCHEMA_VERSION,
        "backend": artifact.backend,
        "target": board.name,
        "machine": artifact.machine,
        "model": model,
        "model_sha256": sha256(folder / model),
        "inputs": [_tensor(each) for each in specs(graph)],
        "outputs": [_tensor(spec(value)) for value in graph.graph.outputs],
        "run": artifact.run,
        "board": jetson
        and {
            "title": board.title,
            "soc": jetson.soc,
            "models": list(jetson.models),
            "modules": list(jetson.modules),
        },
        **({"engine": engine} if engine else {}),
    }


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
