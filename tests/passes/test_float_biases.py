from __future__ import annotations

import numpy as np
import pytest
from helpers import largest_gap, normal, operators, parse, run_passes

FLOAT = "name_everything, lift_constants, infer_shapes, float_biases, remove_unused"
BIAS = np.array([3, -70000, 0, 70001], np.int32)


def quantised(scale: np.ndarray, zero: np.ndarray | None = None, bias: str = "b"):  # type: ignore[no-untyped-def]
    point = "" if zero is None else ", z"
    text = f"""g (float[1,3,8,8] x, int32[4] given) => (float[N,C,H,W] y) {{
        f = DequantizeLinear <axis=0> ({bias}, s{point})
        y = Conv (x, w, f)
    }}"""
    weights = {"w": normal(4, 3, 3, 3), "b": BIAS, "s": scale}
    return parse(text, weights | ({} if zero is None else {"z": zero}))


@pytest.mark.parametrize(
    ("scale", "zero"),
    [
        (np.array(1e-4, np.float32), None),
        (np.array([1e-4, 2e-4, 3e-4, 1e-7], np.float32), None),
        (np.array([1e-4, 2e-4, 3e-4, 1e-7], np.float32), np.zeros(4, np.int32)),
    ],
)
def test_a_bias_in_int32_becomes_the_floats_it_stands_for(
    scale: np.ndarray, zero: np.ndarray | None
) -> None:
    model = quantised(scale, zero)
    rewritten, decisions = run_passes(model, FLOAT)
    assert operators(rewritten) == ["Conv 4x3x3x3 bias"]
    assert decisions[-1].applied
    assert largest_gap(model, rewritten) < 1e-5  # another order of the same sum


def test_a_bias_that_is_computed_is_left() -> None:
    rewritten, decisions = run_passes(quantised(np.array(1e-4, np.float32), bias="given"), FLOAT)
    assert "computed at run time" in str([d.refusal for d in decisions])
    assert operators(rewritten)[0].startswith("DequantizeLinear")
