from __future__ import annotations

import numpy as np
import pytest
from helpers import largest_gap, normal, operators, parse, run_passes
from older_operators import IMAGE

from edgecc import catalog
from edgecc.errors import UsageError

EXPAND = "name_everything, infer_shapes, expand_operators(operators={})"
FORMS = {
    "Celu": ("y = Celu <alpha=2.0> (x)", ["Div", "Elu", "Mul"]),
    "Gelu": ("y = Gelu(x)", ["Mul", "Erf", "Mul", "Add", "Mul"]),
    "GroupNormalization": (
        "y = GroupNormalization <num_groups=2> (x, s, b)",
        ["Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"],
    ),
    "HardSigmoid": ("y = HardSigmoid <alpha=0.3> (x)", ["Mul", "Add", "Clip"]),
    "HardSwish": ("y = HardSwish(x)", ["HardSigmoid", "Mul"]),
    "HardSwish HardSigmoid": ("y = HardSwish(x)", ["Mul", "Add", "Clip", "Mul"]),
    "LayerNormalization": (
        "y = LayerNormalization(x, w)",
        ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul"],
    ),
    "Mish": ("y = Mish(x)", ["Softplus", "Tanh", "Mul"]),
    "RMSNormalization": (
        "y = RMSNormalization(x, w)",
        ["Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul"],
    ),
    "Shrink": (
        "y = Shrink <bias=0.1, lambd=0.3> (x)",
        ["Less", "Greater", "Sub", "Where", "Add", "Where"],
    ),
    "Swish": ("y = Swish(x)", ["Sigmoid", "Mul"]),
    "ThresholdedRelu": ("y = ThresholdedRelu <alpha=0.2> (x)", ["Greater", "Where"]),
}
WEIGHTS = {"w": normal(6), "s": normal(4), "b": normal(4, seed=5)}


@pytest.mark.parametrize("kinds", FORMS)
def test_the_form_and_its_numbers(kinds: str) -> None:
    body, made = FORMS[kinds]
    model = parse(f"g ({IMAGE}) => (float[A,B,C,D] y) {{ {body} }}", WEIGHTS, opset=24)
    expanded, decisions = run_passes(model, EXPAND.format(kinds))
    assert operators(expanded) == made
    assert next(d.node for d in decisions if d.by == "expand_operators").endswith("_y")
    assert expanded.opset_imports[""] == 24
    assert largest_gap(model, expanded) < 1e-6


@pytest.mark.parametrize(("opset", "dtype"), [(17, np.float16), (21, np.float16), (17, np.float64)])
def test_other_floating_point_types(opset: int, dtype: type) -> None:
    kind = {np.float16: "float16", np.float64: "double"}[dtype]
    weights = {name: array.astype(dtype) for name, array in WEIGHTS.items()}
    model = parse(
        f"""g ({kind}[1,4,6,6] x) => ({kind}[A,B,C,D] y) {{
            a = LayerNormalization(x, w)  y = Shrink(a)
        }}""",
        weights,
        opset=opset,
    )
    expanded, _ = run_passes(model, EXPAND.format("LayerNormalization Shrink"))
    assert largest_gap(model, expanded) < (2e-3 if dtype is np.float16 else 1e-6)


def test_only_what_is_named_is_expanded() -> None:
    model = parse(f"g ({IMAGE}) => (float[A,B,C,D] y) {{ a = Mish(x)  y = Gelu(a) }}", opset=20)
    expanded, decisions = run_passes(model, EXPAND.format("Gelu"))
    assert operators(expanded)[0] == "Mish"
    assert [(d.node, d.note) for d in decisions if d.by == "expand_operators"] == [
        ("Gelu_y", "Gelu is x/2 * (1 + Erf(x / sqrt 2))")
    ]


def test_statistics_that_are_read_are_a_refusal() -> None:
    model = parse(
        f"g ({IMAGE}) => (float[A,B,C,D] y) {{ a, m = LayerNormalization(x, w)  y = Add(a, m) }}",
        WEIGHTS,
    )
    expanded, decisions = run_passes(model, EXPAND.format("LayerNormalization"))
    assert operators(expanded) == ["LayerNormalization", "Add"]
    assert "its statistics are read" in (decisions[-1].refusal or "")


def test_the_text_of_the_pass_can_be_read_again() -> None:
    text = "expand_operators(operators=HardSwish Gelu), lower_opset(opset=13, reader=TensorRT 8.0)"
    assert str(catalog.pipeline(text)) == text


def test_an_operator_without_a_form_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="knows no form of Hardswish") as caught:
        catalog.pipeline("expand_operators(operators=Hardswish)")
    assert caught.value.hint == "did you mean HardSwish?"
