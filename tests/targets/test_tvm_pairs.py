"""A depthwise convolution and the pointwise one behind it: one function where it pays, or two."""

from __future__ import annotations

import numpy as np
import pytest
from branches import SMALL, check
from tvm_networks import HOST

assert SMALL.core is not None
NEAR = SMALL.model_copy(update={"core": SMALL.core.model_copy(update={"l2_kb": 64})})
"""What lies between the two leaves the first cache, weights stay in the second."""
DEPTHWISE = "a = Conv <group = 16, pads = [1, 1, 1, 1]> (h16, w32x1x3x3, b32)"
POINTWISE = "Conv (a, w16x32x1x1, b16)"
PAIRED = {
    "alone": f"{DEPTHWISE}; y = {POINTWISE}",
    "activations": f"{DEPTHWISE}; r = Relu (a); y = Conv (r, w16x32x1x1)",
    "SiLU between": f"{DEPTHWISE}; s = Sigmoid (a); m = Mul (a, s); y = Conv (m, w16x32x1x1)",
    "a residual behind": f"{DEPTHWISE}; p = {POINTWISE}; s = Add (p, h16); y = Relu (s)",
    "a residual between": f"{DEPTHWISE}; s = Add (a, h32); y = Conv (s, w16x32x1x1)",
    "stride 2": "a = Conv <group = 24, strides = [2, 2], pads = [1, 1, 1, 1]> (h24, w96x1x3x3);"
    "y = Conv (a, w10x96x1x1)",
    "of the input": "a = Conv <group = 10, pads = [2, 2, 2, 2]> (p10, w40x1x5x5);"
    "y = Conv (a, w5x40x1x1, b5)",
    "in another order": f"{DEPTHWISE}; g = Gather <axis = 1> (a, turned);y = Conv (g, w8x32x1x1)",
}
APART = {
    "two readers": f"{DEPTHWISE}; p = {POINTWISE}; q = Relu (a); r = Conv (q, w16x32x1x1);"
    "y = Add (p, r)",
    "pads": f"{DEPTHWISE}; y = Conv <pads = [1, 0, 0, 1]> (a, w16x32x1x1)",
    "a stride": f"{DEPTHWISE}; y = Conv <strides = [2, 2]> (a, w16x32x1x1)",
    "3x3": f"{DEPTHWISE}; y = Conv (a, w24x32x3x3)",
    "both are added": "a = Conv <group = 24, pads = [1, 1, 1, 1]> (h24, w24x1x3x3);"
    "p = Conv (a, w24x24x1x1); y = Add (p, a)",
}


@pytest.mark.parametrize("batch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_one_function_comes_out_of_each(batch: int) -> None:
    tables = {"turned": np.arange(31, -1, -1)}
    functions = check(PAIRED, (16, 16), batch=batch, target=NEAR, tables=tables)
    assert pairs(functions) == len(PAIRED)


def test_not_where_something_else_is_read() -> None:
    assert pairs(check(APART, (16, 16), target=NEAR)) == 0


def test_not_where_weights_leave_the_second_cache() -> None:
    assert pairs(check({"alone": PAIRED["alone"]}, (16, 16), target=SMALL)) == 0


def test_not_where_it_stays_in_the_first_cache() -> None:
    assert pairs(check({"alone": PAIRED["alone"]}, (4, 4), target=HOST)) == 0


def pairs(functions: list[str]) -> int:
    return sum(name.startswith("depthwise_pointwise") for name in functions)
