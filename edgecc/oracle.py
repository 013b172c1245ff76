"""onnxruntime as the judge of numbers: what a model computes, and how far two models are apart."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.errors import ModelError, UsageError
from edgecc.shapes import Shape
from edgecc.target import Arrays, TensorSpec, checked_inputs

SEED = 0
LIMIT_S = 120.0
"""One inference on this machine; what takes longer is taken for a loop without an end."""


@dataclass(frozen=True)
class Difference:
    """How far one output is from what it should be."""

    max_abs_error: float
    max_rel_error: float
    """The largest absolute error over the largest magnitude of the reference output."""

    def to_json(self) -> dict[str, float | None]:
        """Return plain data, to three digits: the rest is the order of summation.

        None stands for outputs that cannot be compared: other shapes, or nothing to relate to.
        """
        return {
            name: float(f"{value:.3g}") if np.isfinite(value) else None
            for name, value in asdict(self).items()
        }


def run(model: Path, inputs: Arrays, *, hint: str | None = None) -> Arrays:
    """Compute a model's outputs in onnxruntime.

    Errors: `edgecc.errors.ModelError`, with `hint`, where onnxruntime takes the model or the
    inputs not.
    """
    return next(run_each(model, [inputs], hint=hint))


def run_each(model: Path, feeds: Iterable[Arrays], *, hint: str | None = None) -> Iterator[Arrays]:
    """Yield a model's outputs for each of the feeds, the model opened once. Errors: as `run`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = None
    for inputs in feeds:
        try:
            session = session or onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
            results = _run_within_limit(session, inputs)
        except Exception as error:  # onnxruntime raises a type of its own for each status
            sizes = ", ".join(f"{name}:{','.join(map(str, a.shape))}" for name, a in inputs.items())
            raise ModelError(
                f"onnxruntime cannot run {model.name} at {sizes}: {_cause(error)}",
                hint=hint
                or "edgecc checks every step in onnxruntime, so the model has to run there",
            ) from None
        yield _by_name(session, results)


def _by_name(session: Any, results: Sequence[Any]) -> Arrays:
    outputs = dict(zip((value.name for value in session.get_outputs()), results, strict=True))
    if other := [name for name, array in outputs.items() if not isinstance(array, np.ndarray)]:
        raise ModelError(
            f"the output '{other[0]}' is not a tensor", hint="give the model tensors as outputs"
        )
    return outputs


def _run_within_limit(session: Any, inputs: Arrays) -> Any:
    """Run a session; a loop that does not end is ended from another thread."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    timer = threading.Timer(LIMIT_S, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        return session.run(None, inputs, options)
    except Exception as error:
        if options.terminate:
            raise TimeoutError(f"one inference takes more than {LIMIT_S:g} s") from error
        raise
    finally:
        timer.cancel()


def random_inputs(model: ir.Model, shapes: Mapping[str, Shape]) -> Arrays:
    """Return inputs for `model`: standard normal numbers, small whole ones, or a fair coin.

    The same for the same name, type and shape, whatever else the model has.
    """
    arrays: Arrays = {}
    for value in model.graph.inputs:
        name = value.name or ""
        if name not in shapes:  # an initialiser, listed as an input by an old exporter
            continue
        random = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        if value.dtype is None or value.dtype == ir.DataType.STRING:
            raise ModelError(
                f"input '{name}' is not a tensor of numbers",
                hint="cut off what works on text, and build the network behind it",
            )
        dtype = value.dtype.numpy()
        if np.issubdtype(dtype, np.bool_):
            arrays[name] = random.integers(0, 2, shapes[name]).astype(dtype)
        elif np.issubdtype(dtype, np.integer):
            arrays[name] = random.integers(0, 4, shapes[name]).astype(dtype)
        else:
            arrays[name] = random.standard_normal(shapes[name]).astype(dtype)
    return arrays


def read_inputs(path: Path, model: ir.Model) -> Arrays:
    """Read the user's own inputs: an .npz with an array for each input of `model`.

    Errors: `edgecc.errors.UsageError`, also for what is not finite: it would compare as equal.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the inputs in {path}: {error}") from None
    for name, array in arrays.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise UsageError(f"'{name}' in {path} holds numbers that are not finite")
    return checked_inputs(tuple(specs(model)), arrays)


def nudged(inputs: Arrays) -> Arrays:
    """Return `inputs` with every number moved by a millionth of itself, at random."""
    random = np.random.default_rng(SEED)
    return {
        name: (a * (1 + 1e-6 * random.standard_normal(a.shape))).astype(a.dtype)
        if a.dtype.kind == "f"
        else a
        for name, a in inputs.items()
    }


def specs(model: ir.Model) -> Iterator[TensorSpec]:
    """Yield what the inputs of `model` take."""
    for value in model.graph.inputs:
        if not value.is_initializer():
            yield spec(value)


def spec(value: ir.Value) -> TensorSpec:
    """Return the name, type and sizes of an input or output."""
    dtype = value.dtype.numpy().name if value.dtype else "float32"
    sizes = tuple(s if isinstance(s, int) else s.value for s in value.shape or ())
    return TensorSpec(value.name or "", dtype, sizes)


def differences(reference: Arrays, other: Arrays) -> dict[str, Difference]:
    """Compare outputs by name; NaN equals NaN, and is infinitely far from a number."""
    return {name: _difference(array, other[name]) for name, array in reference.items()}


def worst(found: Mapping[str, Difference]) -> Difference:
    """Return the largest errors over all outputs."""
    return Difference(
        max((d.max_abs_error for d in found.values()), default=0.0),
        max((d.max_rel_error for d in found.values()), default=0.0),
    )


def _difference(reference: npt.NDArray[Any], other: npt.NDArray[Any]) -> Difference:
    if reference.shape != other.shape:
        return Difference(np.inf, np.inf)
    if not np.issubdtype(reference.dtype, np.number):
        wrong = float(not np.array_equal(reference, other))
        return Difference(wrong, wrong)
    a, b = reference.astype(np.float64), other.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return Difference(0.0, 0.0)
    with np.errstate(invalid="ignore"):  # infinity from infinity
        gap = np.abs(np.where(same, 0.0, a - b))
    largest = float(np.max(gap)) if np.isfinite(gap).all() else float("inf")
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    return Difference(largest, largest / scale if scale > 0 else float("inf"))


def _cause(error: Exception) -> str:
    """The words of an error of onnxruntime, without the C++ function that raised it."""
    text = " ".join(str(error).split())
    text = re.sub(r"/onnxruntime_src/\S+(?: onnxruntime::.*?\))? ", "", text)
    return text if len(text) < 400 else f"{text[:200]} ... {text[-200:]}"
