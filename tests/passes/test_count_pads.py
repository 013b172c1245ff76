from __future__ import annotations

import pytest
from helpers import largest_gap, parse, run_passes

COUNT = "name_everything, infer_shapes, count_pads"


def pool(attributes: str, size: int = 8) -> str:
    return f"""g (float[1,3,{size},{size}] x) => (float[N,C,H,W] y) {{
        y = AveragePool <kernel_shape=[2,2], strides=[2,2]{attributes}> (x)
    }}"""


@pytest.mark.parametrize("attributes", ["", ", ceil_mode=1", ', auto_pad="VALID"'])
def test_without_pads_counting_them_changes_nothing(attributes: str) -> None:
    model = parse(pool(attributes))
    counted, decisions = run_passes(model, COUNT)
    assert counted.graph[0].attributes.get_int("count_include_pad") == 1
    assert decisions[-1].applied
    assert largest_gap(model, counted) < 1e-6


@pytest.mark.parametrize(
    ("attributes", "size", "reason"),
    [
        (", pads=[0,0,1,1]", 8, "it has pads"),
        (', auto_pad="SAME_UPPER"', 8, "its pads are in words"),
        (", ceil_mode=1", 9, "its last window may lie beyond the input"),
    ],
)
def test_where_it_would_the_pool_is_left(attributes: str, size: int, reason: str) -> None:
    model = parse(pool(attributes, size))
    counted, decisions = run_passes(model, COUNT)
    assert reason in (decisions[-1].refusal or "")
    assert largest_gap(model, counted) == 0
