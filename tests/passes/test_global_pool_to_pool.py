from __future__ import annotations

import numpy as np
import pytest
from helpers import largest_gap, operators, parse, run_passes

from passes.legalise.global_pool_to_pool import factors

POOL = "name_everything, lift_constants, infer_shapes, global_pool_to_pool, remove_unused"


def model_of(body: str, height: int, width: int, opset: int = 17, rank: int = 4):  # type: ignore[no-untyped-def]
    outputs = ",".join("ABCD"[:rank])
    text = f"g (float[2,3,{height},{width}] x) => (float[{outputs}] y) {{ y = {body} }}"
    return parse(text, {"axes": np.array([-1, 2])} if "axes)" in body else None, opset=opset)


@pytest.mark.parametrize(
    ("body", "sizes", "made", "gap"),
    [
        ("GlobalAveragePool(x)", (7, 7), ["AveragePool"], 1e-6),
        ("GlobalAveragePool(x)", (56, 24), ["AveragePool"] * 2, 1e-6),
        ("GlobalAveragePool(x)", (1, 1), ["AveragePool"], 0),
        ("GlobalMaxPool(x)", (56, 10), ["MaxPool"] * 2, 0),
        ("ReduceMean <axes=[2,3]> (x)", (14, 14), ["AveragePool"] * 2, 1e-6),
        ("ReduceMax <axes=[3,2]> (x)", (14, 14), ["MaxPool"] * 2, 0),
        ("GlobalAveragePool(x)", (13, 8), ["Conv 3x1x13x8 g3"], 1e-6),
        ("AveragePool <kernel_shape=[16,16]> (x)", (16, 16), ["AveragePool"] * 2, 1e-6),
    ],
)
def test_a_pool_over_the_map_becomes_small_ones(
    body: str, sizes: tuple[int, int], made: list[str], gap: float
) -> None:
    model = model_of(body, *sizes)
    rewritten, decisions = run_passes(model, POOL)
    assert operators(rewritten) == made
    assert decisions[-1].made or decisions[-2].made
    assert largest_gap(model, rewritten) <= gap
    for node in rewritten.graph:
        assert node.op_type == "Conv" or max(node.attributes["kernel_shape"].as_ints()) <= 8


def test_axes_as_an_input_and_dropped_dimensions() -> None:
    model = model_of("ReduceMean <keepdims=0> (x, axes)", 8, 4, opset=18, rank=2)
    rewritten, _ = run_passes(model, POOL)
    assert operators(rewritten) == ["AveragePool", "Flatten"]
    assert largest_gap(model, rewritten) < 1e-6


def test_small_pools_are_left() -> None:
    model = model_of("AveragePool <kernel_shape=[8,8]> (x)", 8, 8)
    rewritten, decisions = run_passes(model, POOL)
    assert operators(rewritten) == ["AveragePool"]
    assert not [d for d in decisions if d.by == "global_pool_to_pool"]


@pytest.mark.parametrize(
    ("body", "sizes", "reason"),
    [
        ("GlobalAveragePool(x)", (37, 8), "37 is no product of windows up to 8"),
        ("GlobalMaxPool(x)", (13, 8), "13 is no product of windows up to 8"),
        ("ReduceMean <axes=[1]> (x)", (7, 7), "it reduces other axes than H and W"),
        ("AveragePool <kernel_shape=[9,9]> (x)", (16, 16), "its window is large"),
        ("AveragePool <kernel_shape=[9,9], pads=[1,1,1,1]> (x)", (9, 9), "its window is large"),
    ],
)
def test_what_does_not_divide_is_refused(body: str, sizes: tuple[int, int], reason: str) -> None:
    model = model_of(body, *sizes)
    rewritten, decisions = run_passes(model, POOL)
    refusals = [d.refusal for d in decisions if d.by == "global_pool_to_pool"]
    assert reason in str(refusals)
    assert largest_gap(model, rewritten) == 0


def test_integers_are_refused() -> None:
    text = "g (int32[2,3,8,8] x) => (int32[A,B,C,D] y) { y = ReduceMax <axes=[2,3]> (x) }"
    rewritten, decisions = run_passes(parse(text), POOL)
    assert operators(rewritten) == ["ReduceMax"]
    assert decisions[-1].refusal or decisions[-2].refusal


@pytest.mark.parametrize(
    ("size", "found"), [(1, []), (7, [7]), (56, [8, 7]), (36, [6, 6]), (22, None), (512, [8, 8, 8])]
)
def test_factors(size: int, found: list[int] | None) -> None:
    assert factors(size, 8) == found
