"""A network in segments inside a bundle, its files listed in `tvm/segments.json`.

    {"inputs": [{"name": "x", "dtype": "float32", "shape": [1, 3, 32, 32], "file": "x.npy"}],
     "outputs": [...],
     "segments": [{"path": "0/model.so", "inputs": [...], "outputs": [...]},
                  {"path": "1.onnx", "inputs": [...], "outputs": [...]}]}

They run in that order; each takes tensors by name, of the network's inputs and of those before it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from edgecc.errors import BuildError
from edgecc.target import Target, TensorSpec
from targets.tvm.partition import TVM, Segment
from targets.tvm.refusal import NotInTvmError
from targets.tvm.signature import TYPES, Signature, spec_of

LISTING = "segments.json"
DEVICE_FILES = ("run.py", "compiled.py")


def build_segments(
    model: onnx.ModelProto, target: Target, folder: Path, tuned: Callable[[Any], Any] | None = None
) -> tuple[Signature, dict[str, Any]]:
    """Write the network in segments into `folder`, and what runs them on the device.

    Return its inputs and outputs, and what to report. Errors: `BuildError`.
    """
    from targets.tvm.device_runtime import copy_runtime
    from targets.tvm.fallback import split

    found = split(model, target, folder, tuned)
    signature = _write_listing(model, found.segments, folder)
    copy_runtime(target.machine, folder)
    for name in DEVICE_FILES:
        shutil.copyfile(Path(__file__).parent / "device" / name, folder / name)
    return signature, {**found.to_json(), "notes": found.notes()}


def _write_listing(model: onnx.ModelProto, segments: Sequence[Segment], folder: Path) -> Signature:
    whole = _signature(model)
    files = whole.files()
    listed = [
        {"path": _path_of(number, segment), **_ends(_signature(segment.model))}
        for number, segment in enumerate(segments)
    ]
    content = {**_ends(whole, files), "segments": listed}
    (folder / LISTING).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return whole


def _path_of(number: int, segment: Segment) -> str:
    return f"{number}/model.so" if segment.runs_in == TVM else f"{number}.onnx"


def _signature(model: onnx.ModelProto) -> Signature:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    return Signature(tuple(map(_array, inputs)), tuple(map(_array, model.graph.output)))


def _array(value: onnx.ValueInfoProto) -> TensorSpec:
    """Return what passes as an array of numpy's: between two segments of onnxruntime's too."""
    hint = "--backend onnxruntime runs the whole network"
    try:
        spec = spec_of(value)
    except NotInTvmError as error:
        raise BuildError(f"{error.message}, and cannot pass between segments", hint=hint) from None
    if spec.dtype not in TYPES:
        raise BuildError(f"{spec} cannot pass between segments: numpy has no such type", hint=hint)
    return spec


def _ends(signature: Signature, files: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {
        f"{direction}s": [
            {
                "name": spec.name,
                "dtype": spec.dtype,
                "shape": [size if isinstance(size, int) else None for size in spec.shape],
                **({"file": files[f"{direction} {spec.name}"]} if files else {}),
            }
            for spec in specs
        ]
        for direction, specs in (("input", signature.inputs), ("output", signature.outputs))
    }
