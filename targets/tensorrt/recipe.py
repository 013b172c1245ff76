"""A bundle's device.json: how the board builds the engine, and which board that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgecc.errors import UsageError
from edgecc.target import Target, TensorSpec
from targets.tensorrt.device.version import newest_opset

SCHEMA_VERSION = 1
PRECISIONS = ("fp32", "fp16", "int8", "best")
Shape = Sequence[int]
Profile = Mapping[str, Mapping[str, Shape]]
"""For each dynamic input its shapes `min`, `opt` and `max`."""


def describe(
    target: Target,
    *,
    model_sha256: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    opset: int,
    nodes: int,
    precision: str | None = None,
    dla: int | None = None,
    tensorrt: str | None = None,
    shapes: Mapping[str, Shape] | None = None,
    profile: Profile | None = None,
    calibration: str | None = None,
    layers_fp32: Sequence[str] = (),
    model: str = "model.onnx",
) -> dict[str, Any]:
    """Return what `device.json` says of an engine for `target`: the same for the same arguments.

    `precision` None is the board's first; `tensorrt` None is any release of the board's that reads
    the model's `opset`. `shapes` are those of dynamic inputs at run time, `profile` the range that
    the engine is built for. `calibration` is a path inside the bundle; `nodes`, how many the model
    has, is what the board estimates its building time from.
    Errors: `UsageError` for what the board or its TensorRT does not have.
    """
    engine = target.engine
    if engine is None:
        raise UsageError(f"{target.name} has no TensorRT", hint="edgecc targets lists the boards")
    precision = precision or engine.precisions[0]
    _check(target, precision, dla, tensorrt)
    jetson = target.jetson
    return {
        "schema_version": SCHEMA_VERSION,
        "backend": "tensorrt",
        "target": target.name,
        "machine": target.machine,
        "model": model,
        "model_sha256": model_sha256,
        "inputs": [_tensor(spec) for spec in inputs],
        "outputs": [_tensor(spec) for spec in outputs],
        "board": None
        if jetson is None
        else {
            "soc": jetson.soc,
            "models": list(jetson.models),
            "modules": list(jetson.modules),
            "title": target.title,
        },
        "engine": {
            "tensorrt": [tensorrt] if tensorrt else _readers(engine.versions, opset),
            "precision": precision,
            "dla": dla,
            "shapes": _run_shapes(inputs, shapes or {}, profile or {}),
            "profile": _plain(profile) if profile else None,
            "calibration": calibration,
            "layers_fp32": sorted(layers_fp32),
            "opset": opset,
            "nodes": nodes,
        },
    }


def _check(target: Target, precision: str, dla: int | None, tensorrt: str | None) -> None:
    engine = target.engine
    assert engine is not None
    had = engine.precisions if precision != "best" else ("best",)
    if precision not in had:
        raise UsageError(
            f"{target.name} has no {precision} in TensorRT", hint=f"it has {', '.join(had)}"
        )
    if dla is not None and dla not in range(engine.dla_cores):
        cores = ", ".join(map(str, range(engine.dla_cores))) or "none"
        raise UsageError(f"{target.name} has no DLA core {dla}", hint=f"its cores: {cores}")
    if dla is not None and precision == "fp32":
        raise UsageError("DLA computes no fp32", hint="--precision fp16 or int8")
    if tensorrt is not None and tensorrt not in engine.versions:
        raise UsageError(
            f"{target.name} has no TensorRT {tensorrt}", hint=f"it has {', '.join(engine.versions)}"
        )


def _readers(versions: Sequence[str], opset: int) -> list[str]:
    """The releases that read `opset`."""
    return [version for version in versions if (newest_opset(version) or 0) >= opset]


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _run_shapes(
    inputs: Sequence[TensorSpec], shapes: Mapping[str, Shape], profile: Profile
) -> dict[str, list[int]]:
    """The shape of each input at run time. Errors: `UsageError` where a dynamic one has none."""
    found: dict[str, list[int]] = {}
    for spec in inputs:
        given = shapes.get(spec.name) or profile.get(spec.name, {}).get("opt")
        if given is None and not spec.is_static:
            raise UsageError(
                f"the input {spec} is dynamic: TensorRT would take 1 for each unknown size",
                hint=f"give its shape: --shape {spec.name}=1x3x224x224",
            )
        found[spec.name] = [size for size in given or spec.shape if isinstance(size, int)]
    return found


def _plain(profile: Profile) -> dict[str, dict[str, list[int]]]:
    return {
        name: {end: list(ends[end]) for end in ("min", "opt", "max")}
        for name, ends in profile.items()
    }
