"""A residual branch ends behind its shortcut, wherever the shortcut's operators stand."""

from __future__ import annotations

import pytest
from helpers import normal, parse
from sampled import copy_of

from edgecc.calibration.order import shortcuts_first

WEIGHTS = {"w": normal(4, 4, 1, 1), "v": normal(4, 4, 3, 3)}
ORDERS = {
    "a chain": ("a = Conv(x, w)  b = Relu(a)  y = Conv(b, w)", "aby"),
    "the shortcut's operators behind": (
        "a = Conv(x, w)  b = Conv(a, w)  s = Abs(a)  t = Neg(s)  y = Add(b, t)",
        "astby",
    ),
    "the shortcut's layer far behind": (
        "a = Conv(x, w)  b = Conv(a, w)  p = Conv(x, w)  t = Neg(p)  y = Add(t, b)",
        "aptby",
    ),
    "two layers, the deeper first": (
        "a = Conv(x, w)  b = Conv(a, w)  p = Conv(x, w)  y = Add(b, p)",
        "abpy",
    ),
    "two layers, the deeper last": (
        "p = Conv(x, w)  a = Conv(x, w)  b = Conv(a, w)  y = Add(b, p)",
        "abpy",
    ),
    "two layers, as deep": ("a = Conv(x, w)  b = Conv(x, w)  y = Add(a, b)", "aby"),
    "sums in a row, each behind the other's branch": (
        """a = Conv(x, w)  s = Abs(x)  b = Add(a, s)  c = Conv(b, w)  d = Conv(x, w)  t = Neg(b)
        e = Add(c, t)  y = Add(d, e)""",
        "sabtcedy",
    ),
    "a sum with itself": ("a = Conv(x, w)  y = Add(a, a)", "ay"),
    "the shortcut is an input": ("a = Conv(x, w)  y = Add(x, a)", "ay"),
    "read elsewhere too": (
        "a = Conv(x, w)  s = Abs(x)  b = Add(a, s)  c = Neg(a)  y = Mul(b, c)",
        "asbcy",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_each_branch_ends_behind_its_shortcut(name: str) -> None:
    body, expected = ORDERS[name]
    weights = {key: array for key, array in WEIGHTS.items() if f", {key})" in body}
    model = copy_of(parse(f"g (float[N,4,8,8] x) => (float[A,B,C,D] y) {{ {body} }}", weights))
    model.graph.sort()
    assert "".join(str(n.outputs[0].name) for n in shortcuts_first(model.graph)) == expected
