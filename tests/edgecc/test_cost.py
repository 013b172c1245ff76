from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from helpers import conv_model, normal, parse

from edgecc import catalog
from edgecc.cost import Cost, count


def costs(model: Any, **shapes: tuple[int, ...]) -> Any:
    graph = ir.from_proto(model)
    catalog.pipeline("name_everything").run(graph)
    return count(graph, shapes, catalog.infer_shapes)


@pytest.mark.parametrize(
    ("options", "macs"),
    [
        ({}, 9 * 9 * 12 * 8 * 9),
        ({"strides": (2, 2), "pads": (1, 1, 1, 1)}, 6 * 6 * 12 * 8 * 9),
        ({"groups": 4}, 9 * 9 * 12 * 2 * 9),
        ({"dilations": (2, 2)}, 7 * 7 * 12 * 8 * 9),
    ],
)
def test_a_convolution(options: dict[str, Any], macs: int) -> None:
    found = costs(conv_model(12, 8, (3, 3), **options), x=(1, 8, 11, 11))
    groups = options.get("groups", 1)
    assert found.total == Cost(macs, 12 * 8 // groups * 9 + 12)
    assert found.by_node["conv"] == found.total


def test_transposed_dense_and_products() -> None:
    model = parse(
        """g (float[N,4,5,5] x) => (float[N,M] y) {
            t = ConvTranspose <strides=[2,2]> (x, w)  p = GlobalAveragePool(t)
            f = Flatten(p)  h = Gemm <transB=1> (f, g1, b)  y = MatMul(h, m)
        }""",
        {"w": normal(4, 6, 3, 3), "g1": normal(7, 6), "b": normal(7), "m": normal(7, 2)},
    )
    found = costs(model, x=(2, 4, 5, 5))
    assert [cost.macs for cost in found.by_node.values()] == [
        2 * 5 * 5 * 4 * 6 * 9,
        2 * 6 * 7,
        2 * 7 * 2,
    ]
    assert found.total.params == 4 * 6 * 9 + 42 + 7 + 14


def test_whole_numbers_are_no_parameters_and_a_shared_weight_counts_once() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[A,B] y) {
            a = Conv(x, w)  b = Conv(x, w)  s = Add(a, b)  y = Reshape(s, shape)
        }""",
        {"w": normal(6, 4, 3, 3), "shape": np.array([6, -1])},
    )
    assert costs(model, x=(1, 4, 9, 9)).total.params == 6 * 4 * 9


def test_what_cannot_be_counted_is_named() -> None:
    model = parse(
        """g (float[1,4,9,9] x, int64[2] s) => (float[A,B] y) {
            r = Reshape(x, s)  y = MatMul(r, w)
        }""",
        {"w": normal(9, 2)},
    )
    assert costs(model, x=(1, 4, 9, 9), s=(2,)).uncounted == ["MatMul_y"]
