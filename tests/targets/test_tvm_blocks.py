"""What stands between convolutions, computed in blocks of channels, against onnxruntime.

`h` stands for channels in blocks, `p` for the input as it is: see tests/branches.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from branches import SMALL, check
from tvm_networks import HOST

from edgecc.target import Target

DENSE = "a = Conv <pads = [1, 1, 1, 1]> (h10, w20x10x3x3, b20)"
MULTIPLIED = "m = Conv <group = 10, pads = [1, 1, 1, 1]> (h10, w20x1x3x3, b20)"
ACTIVATIONS = {
    "ReLU": f"{DENSE}; y = Relu (a)",
    "Clip": f"{DENSE}; y = Clip (a, zero6, six6)",
    "LeakyReLU": f"{DENSE}; y = LeakyRelu <alpha = 0.2> (a)",
    "Sigmoid": f"{DENSE}; y = Sigmoid (a)",
    "SiLU": f"{DENSE}; s = Sigmoid (a); y = Mul (a, s)",
    "HardSwish": f"{DENSE}; y = HardSwish (a)",
    "HardSigmoid": f"{DENSE}; y = HardSigmoid (a)",
    "PRelu": f"{DENSE}; y = PRelu (a, w20x1x1)",
    "PRelu with one slope": f"{DENSE}; y = PRelu (a, w1)",
    "Tanh of a multiplier's": f"{MULTIPLIED}; y = Tanh (m)",
    "PRelu of a multiplier's": f"{MULTIPLIED}; y = PRelu (m, w20x1x1)",
    "two in a row": f"{DENSE}; r = Relu (a); y = Mul (r, w20x1x1)",
}
RESIDUALS = {
    "dense and dense": f"{DENSE}; y = Add (a, h20)",
    "the other way round": f"{DENSE}; s = Add (h20, a); y = Relu (s)",
    "a multiplier's and a dense one's": f"{MULTIPLIED}; {DENSE}; y = Add (m, a)",
    "a dense one's and a multiplier's": f"{MULTIPLIED}; {DENSE}; s = Add (a, m); y = Relu (s)",
    "a multiplier's and the input": f"{MULTIPLIED}; y = Add (m, p20)",
    "the input and a dense one's": f"{DENSE}; y = Sub (p20, a)",
    "with itself": f"{DENSE}; y = Mul (a, a)",
    "three": f"{DENSE}; s = Add (a, h20); t = Add (s, p20); y = Relu (t)",
    "a gathered one's": f"{DENSE}; g = Gather <axis = 1> (h20, turned); y = Add (a, g)",
    "constants of each shape": f"{DENSE}; c = Add (a, w20x1x1); d = Mul (c, w1x1x1x9);"
    "e = Sub (d, w1x20x13x1); y = Add (e, w1)",
    "a map": f"{DENSE}; y = Mul (a, h1)",
    "a pixel": f"{DENSE}; s = GlobalAveragePool (h20); y = Add (a, s)",
    "a quotient": f"{DENSE}; s = Sigmoid (h20); y = Div (a, s)",
}
MOVED = {
    "Concat of odd counts": "y = Concat <axis = 1> (h3, h5, h1)",
    "Concat that is read": "a = Concat <axis = 1> (h5, h10, h3); y = Conv (a, w8x18x1x1)",
    "Concat of whole blocks": "a = Concat <axis = 1> (h16, h32); y = Conv (a, w8x48x3x3, b8)",
    "Concat with the input": "a = Concat <axis = 1> (h24, p16); y = Conv (a, w8x40x1x1)",
    "Concat of a multiplier's": f"{MULTIPLIED}; a = Concat <axis = 1> (h20, m);"
    "y = Conv (a, w24x40x3x3)",
    "Concat of one twice": "y = Concat <axis = 1> (h20, h20)",
    "Concat of rows": "y = Concat <axis = 2> (h5, h5)",
    "permuted": "a = Gather <axis = 1> (h20, turned); y = Conv (a, w8x20x3x3)",
    "permuted for groups": "a = Gather <axis = 1> (h20, turned);y = Conv <group = 4> (a, w8x5x3x3)",
    "permuted for lanes": "a = Gather <axis = 1> (h20, turned);"
    "y = Conv <group = 20> (a, w20x1x3x3)",
    "most of them": "a = Gather <axis = 1> (h20, most); b = Relu (a); y = Conv (b, w8x18x1x1)",
    "some of them": "a = Gather <axis = 1> (h20, some); y = Conv (a, w8x5x1x1)",
    "some twice": "a = Gather <axis = 1> (h20, twice); y = Conv (a, w8x22x1x1)",
    "without large ones": "m = Mul (h20, steep); a = Gather <axis = 1> (m, most); e = Exp (a);"
    "y = Conv (e, w8x18x1x1)",
    "rows": "y = Gather <axis = 2> (h20, some)",
    "permuted and given out": "y = Gather <axis = 1> (h20, turned)",
    "nearest": 'y = Resize <mode = "nearest"> (h5, "", scales)',
    "linear": 'a = Resize <mode = "linear"> (h20, "", scales); y = Conv (a, w8x20x3x3)',
    "cubic": 'y = Resize <mode = "cubic"> (h5, "", scales)',
}
TABLES = {
    "turned": np.random.default_rng(0).permutation(20),
    "most": np.arange(19, 1, -1),
    "steep": np.where(np.arange(20) < 2, 1e4, 1).astype(np.float32).reshape(20, 1, 1),
    "some": np.array([3, 0, -1, 7, 4]),
    "twice": np.arange(22) // 2 + 5,
    "scales": np.array([1, 1, 2, 1.5], np.float32),
    "zero6": np.array(0, np.float32),
    "six6": np.array(0.6, np.float32),
}
POOLS = {
    "max": "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (h20)",
    "max, ceil_mode": "y = MaxPool <kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1> (h5)",
    "max, dilated": "y = MaxPool <kernel_shape = [3, 3], dilations = [2, 2]> (h24)",
    "max of a negative map": "a = Relu (h10); b = Neg (a);"
    "y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b)",
    "average": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (h20)",
    "average with pads": "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2],"
    "pads = [1, 1, 1, 1], count_include_pad = 1> (h10)",
    "average, uneven pads": "y = AveragePool <kernel_shape = [2, 3], pads = [0, 2, 1, 0]> (h3)",
    "average, ceil_mode": "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2],"
    "ceil_mode = 1> (h16)",
    "global average": "a = GlobalAveragePool (h40); y = Conv (a, w10x40x1x1, b10)",
    "global max": "y = GlobalMaxPool (h24)",
    "mean of rows": "y = ReduceMean <keepdims = 1> (h20, two)",
    "mean of maps": "y = ReduceMean <keepdims = 0> (h10, two_three)",
    "mean that is multiplied": "a = ReduceMean <keepdims = 0> (h24, two_three);"
    "y = Gemm <transB = 1> (a, w10x24, b10)",
    "sum of maps": "y = ReduceSum <keepdims = 0> (h5, two_three)",
    "largest of maps": "y = ReduceMax <keepdims = 0> (h5, two_three)",
    "a multiplier's": f"{MULTIPLIED}; y = MaxPool <kernel_shape = [2, 2]> (m)",
    "a multiplier's mean": f"{MULTIPLIED}; a = GlobalAveragePool (m); y = Flatten (a)",
    "fused": "a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (h20); y = Relu (a)",
}
AXES = {"two": np.array([2]), "two_three": np.array([2, 3])}
WHOLE = {
    "Gemm": "a = GlobalAveragePool (h40); f = Flatten (a);y = Gemm <transB = 1> (f, w10x40, b10)",
    "Gemm of a map": "f = Flatten (h3); y = Gemm (f, w351x24, b24)",
    "two Gemms": "a = GlobalAveragePool (h20); f = Flatten (a);"
    "g = Gemm <transB = 1> (f, w24x20, b24); r = Relu (g); y = Gemm <transB = 1> (r, w5x24)",
    "Gemm of a multiplier's": f"{MULTIPLIED}; a = GlobalMaxPool (m); f = Flatten (a);"
    "y = MatMul (f, w20x7)",
    "SE block": f"{DENSE}; g = GlobalAveragePool (a); c = Conv (g, w5x20x1x1, b5); r = Relu (c);"
    "d = Conv (r, w20x5x1x1, b20); s = Sigmoid (d); y = Mul (a, s)",
    "SE block of a multiplier's": f"{MULTIPLIED}; g = GlobalAveragePool (m);"
    "c = Conv (g, w5x20x1x1, b5); r = Relu (c); d = Conv (r, w20x5x1x1, b20); s = HardSigmoid (d);"
    "y = Mul (s, m)",
    "InstanceNormalization": f"{DENSE}; y = InstanceNormalization (a, w20, b20)",
}
SLOW = pytest.mark.slow
CORES = [pytest.param(HOST, id="host"), pytest.param(SMALL, id="small caches", marks=SLOW)]


@pytest.mark.parametrize("batch", [1, pytest.param(4, marks=SLOW)])
@pytest.mark.parametrize("target", CORES)
@pytest.mark.parametrize("branches", [ACTIVATIONS, RESIDUALS, MOVED], ids=["act", "add", "move"])
def test_what_is_fused_and_moved(branches: dict[str, str], target: Target, batch: int) -> None:
    check(branches, (13, 9), batch=batch, target=target, tables=TABLES)


@pytest.mark.parametrize("batch", [1, pytest.param(4, marks=SLOW)])
@pytest.mark.parametrize("target", CORES)
def test_pools(target: Target, batch: int) -> None:
    check(POOLS, (13, 9), batch=batch, target=target, tables=AXES)


@pytest.mark.parametrize("batch", [4, pytest.param(1, marks=SLOW)])
def test_what_reads_whole_maps(batch: int) -> None:
    check(WHOLE, (13, 9), batch=batch)
