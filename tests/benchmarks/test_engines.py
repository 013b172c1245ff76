"""How engines take turns, and what makes their outputs differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from engines import Engine, difference, interleaved, of_onnxruntime, random_inputs
from single_layers import Layer, network


def test_engines_run_in_turns() -> None:
    ran: list[str] = []
    engines = [Engine(lambda name=name: ran.append(name), list) for name in "ab"]  # type: ignore[misc]
    times = interleaved(engines, seconds=0.0)
    assert times.shape == (2, 5)
    assert (times > 0).all()
    assert "".join(ran) == "ab" + 5 * "aaaabbbb"  # each is tried once before


def test_the_difference_is_of_the_largest_number() -> None:
    wanted = [np.array([1.0, -4.0]), np.array([100.0])]
    assert difference(wanted, wanted) == 0
    assert difference([np.array([1.0, -3.0]), np.array([100.0])], wanted) == 0.25
    assert difference([np.array([1.0, np.nan]), np.array([100.0])], wanted) == np.inf
    assert difference([np.zeros((2, 1)), np.array([100.0])], wanted) == np.inf


@pytest.mark.parametrize(
    "layer",
    [
        Layer(4, 8, 7),
        Layer(4, 8, 7, stride=2),
        Layer(4, 8, 8, stride=2, groups=4),
        Layer(4, 4, 7, (1, 3)),
        Layer(4, 2, 7, (2, 2), stride=2, transposed=True),
        Layer(4, 2, 7, (4, 4), stride=2, transposed=True),
    ],
    ids=str,
)
def test_a_layer_is_as_it_says(layer: Layer, tmp_path: Path) -> None:
    path = tmp_path / "layer.onnx"
    onnx.save(network(layer), path)
    (made,) = of_onnxruntime(path, random_inputs(path), 1).outputs()
    assert made.shape == (1, layer.outputs, layer.out_size, layer.out_size)
    assert made.max() > 0.1


def test_what_a_layer_costs() -> None:
    assert Layer(64, 128, 56, stride=2).macs == 9 * 64 * 128 * 28 * 28
    assert Layer(64, 64, 56, groups=64).macs == 9 * 64 * 56 * 56
    assert Layer(8, 4, 5, (2, 2), stride=2, transposed=True).macs == 4 * 8 * 4 * 25
    assert str(Layer(64, 64, 56, groups=64)) == "64>64 3x3 depthwise, 56x56"
    assert str(Layer(1, 64, 8, (1, 3), stride=2)) == "1>64 1x3 s2, 8x8"
