from __future__ import annotations

import numpy as np
import pytest
from helpers import largest_gap, normal, operators, parse, run_passes

PREPARE = "name_everything, lift_constants, infer_shapes, fold_affine"
WEIGHTS = {
    "w": normal(6, 4, 3, 3),
    "k": np.float32(0.5),
    "c": normal(6, 1, 1, seed=5),
    "d": np.abs(normal(1, 6, 1, 1, seed=6)) + 0.5,
}


@pytest.mark.parametrize(
    "chain",
    [
        "m = Mul(v, k)  y = Add(m, c)",
        "m = Mul(d, v)  y = Sub(m, k)",
        "m = Sub(c, v)  y = Div(m, d)",
        "m = Div(v, d)  n = Add(c, m)  o = Mul(n, n1)  y = Add(o, k)",
    ],
)
def test_a_chain_behind_a_convolution(chain: str) -> None:
    model = parse(
        f"g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{ v = Conv(x, w)  {chain} }}",
        {**WEIGHTS, "n1": normal(6, 1, 1, seed=8)},
    )
    folded, _ = run_passes(model, PREPARE)
    assert operators(folded) == ["Conv 6x4x3x3 bias"]
    assert largest_gap(model, folded) < 1e-4


def test_a_bias_added_behind_as_cntk_does() -> None:
    model = parse(
        "g (float[1,4,9,9] x) => (float[N,C,H,W] y) { v = Conv(x, w)  y = Add(v, c) }", WEIGHTS
    )
    assert operators(run_passes(model, PREPARE)[0]) == ["Conv 6x4x3x3 bias"]


def test_scaling_before_a_padded_convolution_folds_and_shifting_does_not() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            s = Sub(x, k)  t = Div(s, e)  y = Conv <pads=[1,1,1,1]> (t, w)
        }""",
        {**WEIGHTS, "e": np.abs(normal(4, 1, 1)) + 0.5},
    )
    folded, decisions = run_passes(model, PREPARE)
    assert operators(folded) == ["Sub", "Conv 6x4x3x3 p1 bias"]
    assert decisions[-1].refusal == "it shifts the input of a padded convolution"
    assert largest_gap(model, folded) < 1e-4


@pytest.mark.parametrize(
    ("constant", "shape"),
    [("row", (7,)), ("map", (1, 6, 7, 7)), ("batch", (2, 1, 1, 1))],
)
def test_constants_that_are_not_by_channel_are_refused(
    constant: str, shape: tuple[int, ...]
) -> None:
    model = parse(
        f"g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{ v = Conv(x, w)  y = Mul(v, {constant}) }}",
        {**WEIGHTS, constant: normal(*shape)},
    )
    folded, decisions = run_passes(model, PREPARE)
    assert decisions[-1].refusal == "its constant is not one number for each channel"
    assert largest_gap(model, folded) == 0


def test_a_residual_add_is_none_of_its_business() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            a = Conv(x, w)  b = Conv(x, w)  y = Add(a, b)
        }""",
        WEIGHTS,
    )
    decisions = run_passes(model, "fold_affine")[1]
    assert decisions == []


def test_a_gemm_whose_bias_goes_by_row_is_refused() -> None:
    model = parse(
        "g (float[4,3] x) => (float[A,B] y) { m = Gemm(x, w, c)  y = Mul(m, k) }",
        {"w": normal(3, 4), "c": normal(4, 1), "k": normal(4, seed=9)},
    )
    folded, decisions = run_passes(model, PREPARE)
    assert decisions[-1].refusal == "the bias before it is not one number for each channel"
    assert largest_gap(model, folded) == 0
