from __future__ import annotations

import pytest
from correlated import conv_of, correlated
from helpers import conv_model, operators, run_passes

from edgecc.errors import UsageError
from passes.decompose.spatial_depthwise import SpatialDepthwise
from passes.decompose.spatial_svd import SpatialSvd


def test_both_halves_become_depthwise_and_pointwise() -> None:
    model = conv_model(12, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    rewritten, decisions = run_passes(model, "spatial_depthwise(rank=6, multiplier=2)")
    assert operators(rewritten) == [
        "Conv 16x1x3x1 s2,1 p1,0,1,0 g8",
        "Conv 6x16x1x1",
        "Conv 12x1x1x3 s1,2 p0,1,0,1 g6",
        "Conv 12x12x1x1 bias",
    ]
    assert decisions[0].options == {"rank": 6, "multiplier": 2}


def test_groups_stay_groups() -> None:
    model = conv_model(12, 8, (3, 3), groups=2)
    rewritten, _ = run_passes(model, "spatial_depthwise(rank=4, multiplier=1)")
    assert operators(rewritten) == [
        "Conv 8x1x3x1 g8",
        "Conv 8x4x1x1 g2",
        "Conv 8x1x1x3 g8",
        "Conv 12x4x1x1 g2 bias",
    ]


def test_the_multiplier_is_left_open_to_one_less_than_exact() -> None:
    decision = run_passes(conv_model(12, 8, (3, 3)), "spatial_depthwise(rank=6)")[1][0]
    assert decision.options == {"rank": 6, "multiplier": 2}
    exact = run_passes(conv_model(12, 8, (3, 3)), "spatial_depthwise(rank=99)")[1][0]
    assert exact.options == {"rank": 24, "multiplier": 3}
    assert exact.error == 0


def test_with_every_filter_it_is_spatial_svd() -> None:
    conv = conv_of(conv_model(16, 16, (3, 3)))
    known = correlated(conv)
    spatial = SpatialSvd(rank=20, first="vertical").project(conv, known).error
    whole = SpatialDepthwise(rank=20, multiplier=3).project(conv, known).error
    assert whole == pytest.approx(spatial, rel=1e-6)
    fewer = [SpatialDepthwise(rank=20, multiplier=m).project(conv, known).error for m in (1, 2)]
    assert fewer[0] > fewer[1] > whole


def test_a_multiplier_that_keeps_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="keeps nothing"):
        run_passes(conv_model(4, 4, (3, 3)), "spatial_depthwise(rank=2, multiplier=0)")


def test_a_pointwise_convolution_is_refused() -> None:
    assert run_passes(conv_model(4, 4, (1, 1)), "spatial_depthwise(rank=2)")[1][0].refusal
