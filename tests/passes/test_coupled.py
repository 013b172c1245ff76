"""What shares its channels with a Gather, and moves with it: one operator at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from folded import fold, gathers, net
from helpers import normal

WEIGHTS: dict[str, Any] = {
    "ONE": np.float32(0.3),
    "EACH": normal(6, 1, 1, seed=8),
    "ROW": np.abs(normal(1, 6, 1, 1, seed=9)) + 0.5,
    "K": normal(6, 1, 3, 3, seed=5),
    "SQUEEZE": normal(2, 6, 1, 1, seed=1),
    "EXCITE": normal(6, 2, 1, 1, seed=3),
    "MEAN": normal(6, seed=11),
    "VAR": np.abs(normal(6, seed=12)) + 0.5,
    "N": np.array([0, -1]),
    "M": normal(3, 6, seed=2),
    "MT": normal(6, 3, seed=2),
    "FLAT": normal(3, 6 * 49, seed=2) / 9,
    "T": normal(6, 5, 2, 2, seed=7),
    "TWICE": normal(12, 1, 3, 3, seed=5),
    "WIDE": normal(5, 12, 1, 1, seed=6),
    "TW": normal(4, 6, 2, 2),
    "FC": normal(6, 4),
    "CF": normal(4, 6),
    "BB": normal(1, 6),
    "B1": normal(1),
}
BETWEEN = {
    "activations": "r = LeakyRelu <alpha=0.2> (a)  q = HardSwish(r)  z = Tanh(q)",
    "pooling": """r = MaxPool <kernel_shape=[2,2], strides=[2,2]> (a)
        z = AveragePool <kernel_shape=[2,2]> (r)""",
    "depthwise": "r = Conv <group=6, pads=[1,1,1,1]> (a, K, B)  z = Relu(r)",
    "constants": "r = Mul (a, EACH)  q = PRelu (r, EACH)  p = Sub (ROW, q)  z = Div (p, ROW)",
    "a number": "r = Add (ONE, a)  z = Max (r, ONE)",
    "swish": "r = Sigmoid(a)  z = Mul (r, a)",
    "squeeze and excite": """p = GlobalAveragePool(a)  q = Conv (p, SQUEEZE)  r = Relu(q)
        s = Conv (r, EXCITE)  t = Sigmoid(s)  z = Mul (a, t)""",
    "a sum": "r = Conv (x, W)  z = Add (a, r)",
    "normalisation": "z = BatchNormalization (a, MEAN, B, MEAN, VAR)",
}
ENDS = {
    "convolution": "y = Conv (z, V)",
    "two convolutions": "p = Conv (z, V)  q = Conv <pads=[0,0,0,0]> (z, V)  y = Add (p, q)",
    "transposed": "y = ConvTranspose (z, T)",
    "flattened": "f = Flatten(z)  y = Gemm <transB=1> (f, FLAT)",
    "reshaped": "f = Reshape (z, N)  y = Gemm <transB=1> (f, FLAT)",
    "Gemm": "p = GlobalAveragePool(z)  f = Flatten(p)  y = Gemm <transB=1> (f, M)",
    "Gemm, not transposed": "p = GlobalAveragePool(z)  f = Flatten(p)  y = Gemm (f, MT)",
    "MatMul": "p = GlobalAveragePool(z)  f = Flatten(p)  y = MatMul (f, MT)",
    "depthwise with multiplier": "d = Conv <group=6> (z, TWICE)  y = Conv (d, WIDE)",
    "a choice": "u = Gather <axis=1> (z, SOME)  y = Relu(u)",
}
STARTS = {
    "transposed": "z = ConvTranspose (x, TW, B)",
    "Gemm": "p = GlobalAveragePool(x)  f = Flatten(p)  z = Gemm <transB=1> (f, FC, B)",
    "Gemm, row": "p = GlobalAveragePool(x)  f = Flatten(p)  z = Gemm (f, CF, BB)",
    "Gemm, number": "p = GlobalAveragePool(x)  f = Flatten(p)  z = Gemm (f, CF, B1)",
    "MatMul": "p = GlobalAveragePool(x)  f = Flatten(p)  q = MatMul (f, CF)  z = Add (q, B)",
}


@pytest.mark.parametrize("between", BETWEEN)
def test_an_order_goes_up(between: str) -> None:
    body = f"""a = Conv (x, W, B)  {BETWEEN[between]}  s0 = Gather <axis=1> (z, ORDER)
        y = Conv <group=2> (s0, V3)"""
    assert gathers(fold(net(body, **WEIGHTS))[0]) == 0


@pytest.mark.parametrize("between", BETWEEN)
def test_a_choice_goes_up(between: str) -> None:
    body = f"""a = Conv (x, W, B)  {BETWEEN[between]}  s0 = Gather <axis=1> (z, SOME)
        y = Conv (s0, V3)"""
    folded, decisions = fold(net(body, **WEIGHTS))
    if between == "squeeze and excite":
        assert decisions[0].refusal == "q reads channels that it leaves out"
    else:
        assert gathers(folded) == 0
        assert folded.graph[0].outputs[0].shape[1] == 3


@pytest.mark.parametrize("between", BETWEEN)
def test_an_order_goes_down(between: str) -> None:
    body = f"""f = Conv <group=2> (x, GROUPED, B)  a = Gather <axis=1> (f, ORDER)
        {BETWEEN[between]}  y = Conv (z, V)"""
    assert gathers(fold(net(body, **WEIGHTS))[0]) == 0


@pytest.mark.parametrize("end", ENDS)
def test_where_an_order_ends(end: str) -> None:
    flat = "Flatten" in ENDS[end] or "Reshape" in ENDS[end]
    body = (
        f"a = Conv <group=2> (x, GROUPED)  h = Gather <axis=1> (a, ORDER)  z = Relu(h)  {ENDS[end]}"
    )
    out = "float[2,3] y" if flat else "float[2,N,H,W] y"
    assert gathers(fold(net(body, out, **WEIGHTS))[0]) == (end == "a choice")


@pytest.mark.parametrize("start", STARTS)
def test_where_an_order_begins(start: str) -> None:
    out = "float[2,3] y" if "Flatten" in STARTS[start] else "float[2,3,H,W] y"
    body = f"{STARTS[start]}  s = Gather <axis=1> (z, SOME)  y = Relu(s)"
    assert gathers(fold(net(body, out, **WEIGHTS))[0]) == 0


def test_channels_that_are_made_twice_cannot_be_chosen_singly() -> None:
    body = "d = Conv <group=4> (x, T8)  s = Gather <axis=1> (d, SOME)  y = Conv (s, V3)"
    _, decisions = fold(net(body, T8=normal(8, 1, 3, 3)))
    assert decisions[0].refusal == "d makes 2 channels of each"


def test_a_sum_over_other_channels_is_refused() -> None:
    gate = "h = Conv (x, GATE)  p = Mul (a, h)"
    body = f"a = Conv (x, W)  {gate}  s = Gather <axis=1> (p, SOME)  y = Conv (s, V3)"
    folded, _ = fold(net(body, GATE=normal(1, 4, 3, 3)))
    assert gathers(folded) == 0
    body = (
        f"a = Conv (x, W)  {gate}  s = Gather <axis=1> (h, TWO)  q = Conv (s, V2)  y = Add (p, q)"
    )
    model = net(body, GATE=normal(1, 4, 3, 3), TWO=np.array([0, 0]), V2=normal(6, 2, 1, 1))
    assert fold(model)[1][0].refusal == "Mul p reads h"
