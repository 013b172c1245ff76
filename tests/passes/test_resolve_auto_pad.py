from __future__ import annotations

import pytest
from helpers import largest_gap, normal, operators, outputs, parse, run_passes

RESOLVE = "name_everything, infer_shapes, resolve_auto_pad"


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(
    "attributes",
    ["", ", strides=[2,2]", ", strides=[3,1]"],
)
@pytest.mark.parametrize("size", [9, 10])
def test_the_convolution_computes_the_same(mode: str, attributes: str, size: int) -> None:
    model = parse(
        f"""g (float[1,4,{size},{size}] x) => (float[N,C,H,W] y) {{
            y = Conv <auto_pad="{mode}"{attributes}> (x, w)
        }}""",
        {"w": normal(6, 4, 3, 3)},
    )
    resolved, decisions = run_passes(model, RESOLVE)
    assert "auto_pad" not in resolved.graph[0].attributes
    assert decisions[-1].note is not None
    assert largest_gap(model, resolved) < 1e-5


@pytest.mark.parametrize(("dilations", "pads"), [((2, 2), [2] * 4), ((1, 3), [1, 3, 1, 3])])
def test_dilations_widen_the_window(dilations: tuple[int, int], pads: list[int]) -> None:
    """By the operator's definition: onnxruntime takes no dilation with pads in words."""
    model = parse(
        f"""g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{
            y = Conv <auto_pad="SAME_UPPER", dilations=[{dilations[0]},{dilations[1]}]> (x, w)
        }}""",
        {"w": normal(6, 4, 3, 3)},
    )
    resolved, _ = run_passes(model, RESOLVE)
    assert list(resolved.graph[0].attributes["pads"].as_ints()) == pads
    assert outputs(resolved, x=normal(1, 4, 9, 9))["y"].shape == (1, 6, 9, 9)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pools_too(operator: str) -> None:
    model = parse(
        f"""g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{
            y = {operator} <auto_pad="SAME_UPPER", kernel_shape=[2,2], strides=[2,2]> (x)
        }}"""
    )
    resolved, _ = run_passes(model, RESOLVE)
    assert list(resolved.graph[0].attributes["pads"].as_ints()) == [0, 0, 1, 1]
    assert largest_gap(model, resolved) == 0


def test_an_open_size_matters_only_with_a_stride() -> None:
    text = """g (float[1,4,H,W] x) => (float[N,C,H1,W1] y) {{
        y = Conv <auto_pad="SAME_UPPER"{}> (x, w)
    }}"""
    weights = {"w": normal(6, 4, 3, 3)}
    resolved, _ = run_passes(parse(text.format(""), weights), RESOLVE)
    assert operators(resolved) == ["Conv 6x4x3x3 p1"]
    decision = run_passes(parse(text.format(", strides=[2,2]"), weights), RESOLVE)[1][-1]
    assert decision.refusal == "SAME_UPPER on a size that is not known"
