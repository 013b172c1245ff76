from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import largest_gap, normal, operators, parse, run_passes


def norms(channels: int) -> dict[str, Any]:
    return {
        "gamma": normal(channels, seed=1),
        "beta": normal(channels, seed=2),
        "mean": normal(channels, seed=3),
        "var": np.abs(normal(channels, seed=4)) + 0.1,
    }


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize(
    ("operator", "weight"),
    [
        ("Conv <pads=[1,1,1,1]>", (6, 4, 3, 3)),
        ("Conv <group=2>", (6, 2, 3, 3)),
        ("ConvTranspose <strides=[2,2]>", (4, 6, 3, 3)),
        ("ConvTranspose <group=2>", (4, 3, 3, 3)),
    ],
)
def test_behind_a_convolution(operator: str, weight: tuple[int, ...], bias: str) -> None:
    model = parse(
        f"""g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{
            c = {operator} (x, w{bias})
            y = BatchNormalization <epsilon=0.01> (c, gamma, beta, mean, var)
        }}""",
        {"w": normal(*weight), "b": normal(6, seed=9), **norms(6)},
    )
    folded, decisions = run_passes(model, "name_everything, infer_shapes, fold_batchnorm")
    assert len(operators(folded)) == 1
    assert decisions[-1].note is not None
    assert decisions[-1].note.startswith("folded into")
    assert largest_gap(model, folded) < 2e-4  # outputs reach 60


def test_behind_a_gemm_whose_bias_is_scaled() -> None:
    model = parse(
        """g (float[2,5] x) => (float[N,C] y) {
            c = Gemm <transB=1, beta=0.5> (x, w, b)
            y = BatchNormalization (c, gamma, beta, mean, var)
        }""",
        {"w": normal(3, 5), "b": normal(3, seed=9), **norms(3)},
    )
    folded, _ = run_passes(model, "name_everything, infer_shapes, fold_batchnorm")
    assert operators(folded) == ["Gemm"]
    assert largest_gap(model, folded) < 1e-4


def test_before_an_unpadded_convolution_only() -> None:
    text = """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{
        n = BatchNormalization (x, gamma, beta, mean, var)
        y = Conv <group=2, pads=[{p},{p},{p},{p}]> (n, w)
    }}"""
    weights = {"w": normal(6, 2, 3, 3), **norms(4)}
    for padding, left in ((0, ["Conv 6x2x3x3 g2 bias"]), (1, ["BatchNormalization", "Conv"])):
        model = parse(text.format(p=padding), weights)
        folded, decisions = run_passes(model, "name_everything, infer_shapes, fold_batchnorm")
        assert [name.split(" ")[0] for name in operators(folded)] == [
            name.split(" ")[0] for name in left
        ]
        assert largest_gap(model, folded) < 1e-4
    assert decisions[-1].refusal == "it shifts the input of a padded convolution"


def test_a_shared_convolution_and_training_mode_are_refused() -> None:
    shared = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y, float[N,C,H,W] c) {
            c = Conv (x, w)
            y = BatchNormalization (c, gamma, beta, mean, var)
        }""",
        {"w": normal(6, 4, 3, 3), **norms(6)},
    )
    folded, decisions = run_passes(shared, "name_everything, infer_shapes, fold_batchnorm")
    assert decisions[-1].refusal is not None
    assert decisions[-1].refusal.startswith("others read")
    assert largest_gap(shared, folded) == 0
    training = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            c = Conv (x, w)
            y, m, v = BatchNormalization <training_mode=1> (c, gamma, beta, mean, var)
        }""",
        {"w": normal(6, 4, 3, 3), **norms(6)},
    )
    decisions = run_passes(training, "name_everything, fold_batchnorm")[1]
    assert decisions[-1].refusal == "it is in training mode"


def test_weights_shared_with_another_convolution_stay_what_they_were_there() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y, float[N,C,H,W] z) {
            c = Conv (x, w, b)
            y = BatchNormalization (c, gamma, beta, mean, var)
            z = Conv (x, w, b)
        }""",
        {"w": normal(6, 4, 3, 3), "b": normal(6), **norms(6)},
    )
    folded, _ = run_passes(model, "name_everything, infer_shapes, fold_batchnorm")
    assert largest_gap(model, folded) < 1e-4
