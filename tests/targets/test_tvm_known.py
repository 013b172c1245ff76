"""What is computed while a network is compiled, so that TVM need not compile it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tvm_networks import by_onnxruntime, by_tvm, given, ints, normal

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'edgecc[arm]'")

from targets.tvm.frontend import to_relax
from targets.tvm.known import with_known_values

NAMES = {"add", "multiply", "less", "where", "take", "reshape", "permute_dims", "shape_to_tensor"}


def operators(module: Any) -> list[str]:
    return sorted(set(re.findall(r"R\.([\w.]+)(?=\()", module.script())) & NAMES)


def network(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {text}')
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in weights.items())
    return model


def test_a_gather_of_known_channels_is_one_operator() -> None:
    model = network(
        "(float[1,4,5,5] x) => (float[1,3,5,5] y) { y = Gather <axis = 1> (x, i) }",
        i=ints(2, -1, 0),
    )
    assert operators(to_relax(model)) == ["take"]
    (wanted,) = by_onnxruntime(model, given(model))
    np.testing.assert_array_equal(by_tvm(model, given(model))[0], wanted)


def test_weights_are_brought_into_form_here() -> None:
    model = network(
        """(float[1,3,6,6] x) => (float[1,5] y) {
            a = Conv (x, w, b)  f = Flatten (a)  y = Gemm <transB = 1> (f, v, c) }""",
        **{"w": normal(4, 3, 3, 3), "b": normal(4), "v": normal(5, 64), "c": normal(5)},
    )
    found = to_relax(model)["main"].script()
    assert "permute_dims" not in found
    assert found.count("R.reshape") == 1  # the Flatten
    (wanted,) = by_onnxruntime(model, given(model))
    np.testing.assert_allclose(by_tvm(model, given(model))[0], wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("mode", ["clip", "wrap", "fast"])
def test_it_finds_what_tvm_finds(mode: str) -> None:
    from tvm import relax

    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType((2, 3), "float32"))
    table = relax.const(normal(4, 3), "float32")
    with builder.function("main", [x]):
        with builder.dataflow():
            rows = builder.emit(relax.op.take(table, relax.const(ints(3, 1), "int64"), 0, mode))
            cell = builder.emit(relax.op.take(table, relax.const(2, "int64"), 0, mode))
            scalar = builder.emit(relax.op.take(cell, relax.const(1, "int64"), 0, mode))
            turned = builder.emit(relax.op.permute_dims(builder.emit(relax.op.permute_dims(rows))))
            sizes = builder.emit(relax.op.shape_to_tensor(builder.emit(relax.op.shape_of(x))))
            small = builder.emit(relax.op.less(sizes, relax.const(3, "int64")))
            more = builder.emit(relax.op.add(sizes, relax.op.multiply(sizes, sizes)))
            sizes = builder.emit(relax.op.where(small, more, sizes))
            sums = builder.emit(relax.op.add(x, builder.emit(relax.op.multiply(turned, scalar))))
            whole = builder.emit(relax.op.reshape(turned, (3, 2)))
            made = builder.emit_output(relax.Tuple([sums, sizes, whole, scalar]))
        builder.emit_func_output(made)
    module = builder.get()
    by_us = relax.transform.DeadCodeElimination()(with_known_values(module))
    by_fold = relax.transform.DeadCodeElimination()(relax.transform.FoldConstant()(module))
    assert operators(by_us) == operators(by_fold) == ["add"]
    ours, theirs = (constants(found["main"]) for found in (by_us, by_fold))
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


def constants(function: Any) -> list[np.ndarray]:
    from tvm import ir, relax

    found: list[np.ndarray] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, ir.expr.GenericConst):
            found.append(expr.value.numpy())

    relax.analysis.post_order_visit(function, visit)
    return found


def test_indices_that_are_outside_are_left_to_tvm() -> None:
    from tvm import relax

    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType((1,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            far = relax.op.take(relax.const(normal(4)), relax.const(ints(7), "int64"), 0, "fast")
            made = builder.emit_output(relax.op.add(x, builder.emit(far)))
        builder.emit_func_output(made)
    assert operators(with_known_values(builder.get())) == ["add", "take"]
