"""ONNX's own tests of its operators: each is lowered and computes the same, or is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers import run_passes
from onnx import numpy_helper

from edgecc.errors import EdgeccError

pytestmark = pytest.mark.slow
LOWER = (
    "name_everything, lift_constants, infer_shapes, lower_opset(opset={}), narrow_int64, "
    "expand_operators, sanitise_names"
)
UNKNOWN_TO_ONNXRUNTIME = {"test_max_uint64", "test_min_uint64"}
"""It has no Where of unsigned numbers; TensorRT has no unsigned numbers."""
NEWEST = 26
"""The newest opset that the installed onnxruntime is told of."""
LEAST_EQUAL = 2000
"""At the least so many are lowered: at the time of writing 2122."""


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, feeds))


def cases() -> Iterator[tuple[str, onnx.ModelProto, dict[str, np.ndarray], list[Any]]]:
    """The tests that onnxruntime can run, and what it makes of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they divide by zero
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    for case in found:
        model = case.model
        if model is None or [o.domain for o in model.opset_import] != [""]:
            continue
        if not 11 < model.opset_import[0].version <= NEWEST:
            continue
        try:
            feeds = split_inputs(model, case.data_sets[0][0])
            yield case.name, model, feeds, run(model, feeds)
        except Exception:
            continue


def split_inputs(model: onnx.ModelProto, data: list[Any]) -> dict[str, np.ndarray]:
    """Make initialisers of whole numbers behind the first input (axes, sizes), as models do."""
    feeds, inputs = {}, list(model.graph.input)
    del model.graph.input[:]
    model.ir_version = min(model.ir_version, 10)
    for index, (value, given) in enumerate(zip(inputs, data, strict=True)):
        proto = isinstance(given, onnx.TensorProto)
        array = numpy_helper.to_array(given) if proto else np.asarray(given)
        if index and (array.dtype in (np.int64, np.int32, np.int8, np.uint8, np.bool_)):
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        else:
            feeds[value.name] = array
            model.graph.input.append(value)
    return feeds


def test_every_operator_of_onnx() -> None:
    equal, wrong = 0, []
    for name, model, feeds, reference in cases():
        for opset in (17, 13, 11):
            if model.opset_import[0].version <= opset:
                continue
            try:
                lowered, _ = run_passes(model, LOWER.format(opset))
            except EdgeccError:
                continue
            if name in UNKNOWN_TO_ONNXRUNTIME:
                continue
            found = run(ir.to_proto(lowered), feeds)
            if all(same(*pair) for pair in zip(reference, found, strict=True)):
                equal += 1
            else:
                wrong.append((name, opset))
    assert wrong == []
    assert equal > LEAST_EQUAL


def same(reference: Any, found: Any) -> bool:
    if not isinstance(reference, np.ndarray) or reference.dtype.kind not in "fiub":
        return type(reference) is type(found)
    tolerance = 2e-3 if reference.dtype == np.float16 else 1e-5
    return reference.dtype == found.dtype and np.allclose(
        reference, found, rtol=0, atol=tolerance, equal_nan=True
    )
