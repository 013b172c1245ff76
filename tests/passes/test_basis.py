from __future__ import annotations

import numpy as np
from helpers import conv_model, operators, run_passes


def test_a_convolution_becomes_basis_filters_and_a_mix_of_them() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decisions = run_passes(model, "basis(rank=4)")
    assert operators(rewritten) == ["Conv 4x8x3x3 s2 p1", "Conv 12x4x1x1 bias"]
    assert decisions[0].options == {"rank": 4}


def test_each_group_has_a_basis_of_its_own() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (3, 3), groups=2), "basis(rank=3)")
    assert operators(rewritten) == ["Conv 6x4x3x3 g2", "Conv 12x3x1x1 g2 bias"]


def test_a_pointwise_convolution_becomes_two() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (1, 1)), "basis(rank=2)")
    assert operators(rewritten) == ["Conv 2x8x1x1", "Conv 12x2x1x1 bias"]


def test_the_filters_are_orthonormal() -> None:
    rewritten, _ = run_passes(conv_model(12, 8, (3, 3)), "basis(rank=5)")
    filters = rewritten.graph[0].inputs[1].const_value.numpy().reshape(5, -1).astype(np.float64)
    np.testing.assert_allclose(filters @ filters.T, np.eye(5), atol=1e-6)


def test_the_error_is_the_tail_of_the_spectrum() -> None:
    model = conv_model(12, 8, (3, 3))
    weight = np.frombuffer(model.graph.initializer[0].raw_data, np.float32).reshape(12, -1)
    energy = np.linalg.svd(weight.astype(np.float64), compute_uv=False) ** 2
    decision = run_passes(model, "basis(rank=5)")[1][0]
    assert abs(decision.error - energy[5:].sum() / energy.sum()) < 1e-12
