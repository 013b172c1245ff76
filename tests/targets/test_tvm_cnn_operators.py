"""Every operator of the real networks that edgecc is tried with, and of ONNX's light models, in a
small network each; then common others of CNNs. Against onnxruntime.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.parser import parse_node
from tvm_networks import by_onnxruntime, by_tvm, error, floats, given, ints, network, normal

SHAPE = (1, 4, 13, 11)
Case = tuple[int, list[str], dict[str, np.ndarray]]


def case(opset: int, *nodes: str, **weights: Any) -> Case:
    return opset, list(nodes), weights


REAL: dict[str, Case] = {
    "Add": case(7, "y = Add (x, c)", c=normal(4, 1, 1)),
    "AveragePool": case(9, "y = AveragePool <kernel_shape = [7, 7]> (x)"),
    "BatchNormalization": case(
        9, "y = BatchNormalization <epsilon = 1.0e-3> (x, s, b, m, v)",
        s=normal(4), b=normal(4), m=normal(4), v=np.abs(normal(4)) + 1,
    ),
    "Concat": case(13, "a = Relu (x)", "y = Concat <axis = 1> (x, a, x)"),
    "Constant": case(13, "c = Constant <value_float = 2.5> ()", "y = Mul (x, c)"),
    "ConstantOfShape": case(
        9, "c = ConstantOfShape <value = float[1] {0.5}> (s)", "y = Add (x, c)", s=ints(4, 13, 11),
    ),
    "Conv": case(
        9, "y = Conv <kernel_shape = [7, 7], strides = [2, 2], pads = [3, 3, 3, 3]> (x, w, b)",
        w=normal(8, 4, 7, 7), b=normal(8),
    ),
    "ConvTranspose": case(
        11, "y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]>"
        " (x, w)", w=normal(4, 6, 3, 3),
    ),
    "DepthToSpace": case(11, "y = DepthToSpace <blocksize = 2> (x)"),
    "Div": case(13, "y = Div (x, c)", c=np.abs(normal(1, 4, 1, 1)) + 1),
    "Dropout": case(9, "y = Dropout <ratio = 0.5> (x)"),
    "Exp": case(13, "y = Exp (x)"),
    "Flatten": case(9, "y = Flatten <axis = 1> (x)"),
    "Gather": case(11, "y = Gather <axis = 3> (x, i)", i=ints(3, -1, 0)),
    "Gemm": case(
        9, "f = Flatten (x)", "y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (f, w, b)",
        w=normal(5, 572), b=normal(5),
    ),
    "GlobalAveragePool": case(9, "y = GlobalAveragePool (x)"),
    "Identity": case(13, "a = Identity (x)", "y = Neg (a)"),
    "InstanceNormalization": case(
        9, "y = InstanceNormalization (x, s, b)", s=normal(4), b=normal(4),
    ),
    "LRN": case(9, "y = LRN <size = 5, alpha = 1.0e-4, beta = 0.75, bias = 1.0> (x)"),
    "MatMul": case(9, "y = MatMul (x, w)", w=normal(11, 6)),
    "MaxPool": case(9, "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x)"),
    "Mul": case(9, "y = Mul (x, c)", c=normal(4, 13, 1)),
    "Pad": case(10, "y = Pad <pads = [0, 0, 1, 2, 0, 0, 3, 4]> (x)"),
    "Relu": case(9, "y = Relu (x)"),
    "Reshape": case(9, "y = Reshape (x, s)", s=ints(0, 2, 2, -1)),
    "Shape": case(11, "s = Shape (x)", "y = Cast <to = 1> (s)"),  # others are folded before
    "Slice": case(10, "y = Slice (x, s, e, a)", s=ints(1), e=ints(-2), a=ints(2)),
    "Softmax": case(9, "f = Flatten (x)", "y = Softmax <axis = 1> (f)"),
    "Sub": case(9, "y = Sub (x, c)", c=normal(11)),
    "Sum": case(9, "a = Relu (x)", "y = Sum (x, a, x)"),
    "Tanh": case(9, "y = Tanh (x)"),
    "Transpose": case(9, "y = Transpose <perm = [0, 2, 3, 1]> (x)"),
    "Unsqueeze": case(9, "y = Unsqueeze <axes = [0, 5]> (x)"),
}  # fmt: skip
COMMON: dict[str, Case] = {
    "Abs": case(13, "y = Abs (x)"),
    "ArgMax": case(13, "y = ArgMax <axis = 1, keepdims = 0> (x)"),
    "Cast": case(13, "i = Cast <to = 7> (x)", "y = Cast <to = 1> (i)"),
    "Clip": case(13, "y = Clip (x, l, h)", l=floats(0)[0], h=floats(0.6)[0]),
    "Clip above only": case(13, 'y = Clip (x, "", h)', h=floats(0.6)[0]),
    "CumSum": case(14, "y = CumSum (x, a)", a=np.array(2)),
    "Einsum": case(13, 'y = Einsum <equation = "nchw,cd->ndhw"> (x, w)', w=normal(4, 3)),
    "Elu": case(9, "y = Elu <alpha = 0.7> (x)"),
    "Erf": case(13, "y = Erf (x)"),
    "Expand": case(13, "y = Expand (x, s)", s=ints(2, 4, 13, 11)),
    "Gelu": case(20, "y = Gelu (x)"),
    "Gelu tanh": case(20, 'y = Gelu <approximate = "tanh"> (x)'),
    "GlobalMaxPool": case(9, "y = GlobalMaxPool (x)"),
    "HardSigmoid": case(9, "y = HardSigmoid <alpha = 0.16666667> (x)"),
    "HardSwish": case(14, "y = HardSwish (x)"),
    "LayerNormalization": case(
        17, "y = LayerNormalization <axis = -1> (x, s, b)", s=normal(11), b=normal(11),
    ),
    "LeakyRelu": case(9, "y = LeakyRelu <alpha = 0.1> (x)"),
    "LogSoftmax": case(13, "y = LogSoftmax <axis = 1> (x)"),
    "Max": case(13, "y = Max (x, c)", c=normal(4, 1, 1)),
    "Min": case(13, "y = Min (x, c)", c=normal(4, 1, 1)),
    "Mish": case(18, "y = Mish (x)"),
    "PRelu": case(9, "y = PRelu (x, s)", s=normal(4, 1, 1)),
    "Pad edge": case(13, 'y = Pad <mode = "edge"> (x, p)', p=ints(0, 0, 1, 2, 0, 0, 3, 4)),
    "Pow": case(13, "a = Abs (x)", "y = Pow (a, e)", e=floats(1.5)[0]),
    "QuickGelu by hand": case(
        13, "a = Mul (x, c)", "s = Sigmoid (a)", "y = Mul (x, s)", c=floats(1.702)[0],
    ),
    "ReduceMax": case(13, "y = ReduceMax <axes = [2, 3], keepdims = 1> (x)"),
    "ReduceMean": case(13, "y = ReduceMean <axes = [2, 3], keepdims = 0> (x)"),
    "ReduceMean opset 18": case(18, "y = ReduceMean <keepdims = 1> (x, a)", a=ints(2, 3)),
    "ReduceSum": case(13, "y = ReduceSum <keepdims = 1> (x, a)", a=ints(1)),
    "ReduceL2": case(13, "y = ReduceL2 <axes = [1], keepdims = 1> (x)"),
    "Selu": case(9, "y = Selu (x)"),
    "Sigmoid": case(9, "y = Sigmoid (x)"),
    "Softplus": case(9, "y = Softplus (x)"),
    "Softsign": case(9, "y = Softsign (x)"),
    "Split": case(
        13, "a, b = Split <axis = 1> (x, s)", "y = Concat <axis = 1> (b, a)", s=ints(1, 3),
    ),
    "Split opset 18": case(
        18, "a, b = Split <axis = 1, num_outputs = 2> (x)", "y = Sub (a, b)",
    ),
    "Sqrt": case(13, "a = Abs (x)", "y = Sqrt (a)"),
    "Squeeze": case(13, "y = Squeeze (x, a)", a=ints(0)),
    "Swish": case(24, "y = Swish <alpha = 1.0> (x)"),
    "ThresholdedRelu": case(10, "y = ThresholdedRelu <alpha = 0.3> (x)"),
    "Where": case(13, "c = Greater (x, z)", "y = Where (c, x, z)", z=floats(0.2)[0]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*REAL, *COMMON])
def test_operator_equals_onnxruntime(name: str) -> None:
    opset, texts, weights = {**REAL, **COMMON}[name]
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip("this onnx is older than the operator")
    nodes = [parse_node(text) for text in texts]
    assert name.split()[0] in [*(node.op_type for node in nodes), "QuickGelu"]
    model = network(opset, nodes, {k: np.asarray(v) for k, v in weights.items()}, SHAPE)
    (got,), (wanted,) = by_tvm(model, given(model)), by_onnxruntime(model, given(model))
    assert error(wanted, got) < 2e-5
