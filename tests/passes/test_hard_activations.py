from __future__ import annotations

import pytest
from helpers import largest_gap, operators, parse, run_passes

HARD = "name_everything, infer_shapes, hard_activations"


@pytest.mark.parametrize(
    ("body", "opset", "made"),
    [
        ("HardSwish(t)", 17, ["Add", "Clip", "Mul", "Mul"]),
        ("HardSigmoid(t)", 13, ["Mul", "Add", "Clip"]),
        ("HardSigmoid <alpha=0.3, beta=0.4> (t)", 10, ["Mul", "Add", "Clip"]),
    ],
)
def test_hard_activations_become_clips(body: str, opset: int, made: list[str]) -> None:
    steps = "s = Add(x, x) t = Add(s, s)"
    model = parse(
        f"g (float[2,3,40,40] x) => (float[N,C,H,W] y) {{ {steps} y = {body} }}", opset=opset
    )
    rewritten, decisions = run_passes(model, HARD)
    assert operators(rewritten) == ["Add", "Add", *made]
    assert decisions[-1].applied
    assert largest_gap(model, rewritten) < 1e-5


def test_float16_stays() -> None:
    model = parse(
        "g (float16[2,3,8,8] x) => (float16[N,C,H,W] y) { y = HardSwish(x) }",
        opset=14,
    )
    rewritten, _ = run_passes(model, HARD)
    assert largest_gap(model, rewritten) < 4e-3
