"""A prepared ONNX model to TVM's Relax: refusals first, then corrections, then TVM's own reader."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError

from edgecc.errors import BuildError
from targets.tvm.clipped_take import clip_takes
from targets.tvm.corrections import corrected
from targets.tvm.facts import Facts
from targets.tvm.inference import with_shapes
from targets.tvm.known import with_known_values
from targets.tvm.refusal import NotInTvmError
from targets.tvm.signature import Signature

OLDEST_OPSET = 7


def read_model(path: Path) -> onnx.ModelProto:
    """Read the prepared model, its weights included. Errors: `BuildError`."""
    try:
        return onnx.load(path)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise BuildError(f"cannot read {path}: {last_line(error)}") from error


def to_relax(model: onnx.ModelProto) -> Any:
    """Return `model` as a Relax module (`tvm.IRModule`) whose function is `main`.

    It takes the inputs and returns the outputs in the model's order, weights are constants.
    Errors: `NotInTvmError`, naming every operator that TVM cannot take; other `BuildError`s.
    """
    opset = opset_of(model)
    model = expand_functions(model)
    _refuse_unknown(model)
    signature = Signature.of_model(model)
    facts = Facts.of_model(with_shapes(model), opset)
    module = _import(corrected(model, facts), opset)
    _check_outputs(module, signature)
    return with_known_values(clip_takes(module))


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators. Errors: `BuildError` below 7."""
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if not versions or versions[0] < OLDEST_OPSET:
        raise BuildError(
            f"the model uses opset {versions[0] if versions else 'none'} of ONNX's operators",
            hint=f"TVM is given {OLDEST_OPSET} or newer: convert it with onnx.version_converter",
        )
    return int(versions[0])


def last_line(error: BaseException) -> str:
    """Return the part of an error that a user can read: TVM's run over many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300]}" if lines else type(error).__name__


def reraise_interrupt(error: Exception) -> None:
    """Give Ctrl-C its name back: inside a Python pass, TVM makes it a RuntimeError of no words."""
    if type(error) is RuntimeError and not str(error).strip():
        raise KeyboardInterrupt from error


def _known_operators() -> set[str]:
    from tvm.relax.frontend.onnx import onnx_frontend

    return set(onnx_frontend._get_convert_map())


def unknown_operators(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return every operator that TVM cannot take, with the names of its nodes."""
    known = _known_operators()
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            found.setdefault(f"{node.domain}.{node.op_type}", []).append(node.name)
        elif node.op_type not in known:
            found.setdefault(node.op_type, []).append(node.name)
    return found


def expand_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace operators that ONNX itself defines by others (Celu, Swish) by that definition."""
    defined = [
        ("", kind)
        for kind in unknown_operators(model)
        if onnx.defs.has(kind)
        and (
            (schema := onnx.defs.get_schema(kind, opset_of(model))).has_function  # type: ignore[attr-defined]
            or schema.has_context_dependent_function  # type: ignore[attr-defined]
        )
    ]
    if not defined:
        return model
    return onnx.inliner.inline_selected_functions(model, defined, inline_schema_functions=True)


def _refuse_unknown(model: onnx.ModelProto) -> None:
    unknown = unknown_operators(model)
    if not unknown:
        return
    kinds = "; ".join(f"{kind} ({some(nodes)})" for kind, nodes in sorted(unknown.items()))
    plural = "operators" if len(unknown) > 1 else "the operator"
    nodes = [name for names in unknown.values() for name in names]
    raise NotInTvmError(f"TVM cannot take {plural} {kinds}", nodes=nodes)


def some(nodes: list[str]) -> str:
    """Return names in quotes, of many the first three."""
    shown = ", ".join(f"'{name}'" for name in nodes[:3])
    return shown if len(nodes) <= 3 else f"{shown} and {len(nodes) - 3} more"


def _import(model: onnx.ModelProto, opset: int) -> Any:
    from tvm.relax.frontend.onnx import from_onnx

    with quiet() as printed:
        try:
            return from_onnx(model, opset=opset)
        except Exception as error:  # TVM raises whatever its C++ or Python ran into
            reraise_interrupt(error)
            failed = re.search(r"Error converting operator (\w+)", printed.getvalue())
            kind = failed[1] if failed else None
            nodes = some([node.name for node in model.graph.node if node.op_type == kind])
            where = f"{kind} ({nodes})" if kind else "the model"
            raise NotInTvmError(f"TVM cannot import {where}: {last_line(error)}") from error


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Keep TVM's prints off stdout, which belongs to the command line, and its warnings away."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield printed


def _check_outputs(module: Any, signature: Signature) -> None:
    """Compare what TVM derived with what ONNX says: a converter that ignores an attribute shows."""
    returned = module["main"].ret_ty
    fields = list(returned.fields) if hasattr(returned, "fields") else [returned]
    for spec, field in zip(signature.outputs, fields, strict=True):
        sizes = getattr(getattr(field, "shape", None), "values", None)
        if sizes is None or not all(hasattr(size, "value") for size in sizes):
            raise NotInTvmError(f"TVM cannot tell the shape of the output {spec}")
        shape = tuple(int(size) for size in sizes)
        dtype = str(field.dtype.dtype)
        if (shape, dtype) != (spec.shape, spec.dtype):
            made = "x".join(map(str, shape)) or "scalar"
            raise NotInTvmError(f"TVM makes {dtype} {made} of the output {spec}")
