"""A bundle's device.json."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgecc import catalog
from edgecc.errors import UsageError
from edgecc.target import TensorSpec
from targets.tensorrt.recipe import describe

X = TensorSpec("x", "float32", (1, 3, 224, 224))
Y = TensorSpec("y", "float32", (1, 10))


def of(board: str = "xavier", inputs: tuple[TensorSpec, ...] = (X,), **options: Any) -> Any:
    target = catalog.target(board)
    facts = {"model_sha256": "ab", "outputs": (Y,), "opset": 17, "nodes": 40}
    return describe(target, inputs=inputs, **{**facts, **options})


def test_it_says_what_to_build_and_on_what() -> None:
    described = of()
    assert described["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 3, 224, 224]}]
    assert described["board"]["soc"] == "tegra194"
    assert "p2888-0004" in described["board"]["modules"]
    assert described["engine"] == {
        "tensorrt": ["8.5.2", "8.4.1"],  # those that read opset 17
        "precision": "fp16",
        "dla": None,
        "shapes": {"x": [1, 3, 224, 224]},
        "profile": None,
        "calibration": None,
        "layers_fp32": [],
        "opset": 17,
        "nodes": 40,
    }
    assert json.dumps(described) == json.dumps(of())


def test_options() -> None:
    made = of(opset=13, tensorrt="8.2.1", precision="int8", dla=1, layers_fp32=("b", "a"))["engine"]
    assert (made["tensorrt"], made["precision"], made["dla"]) == (["8.2.1"], "int8", 1)
    assert made["layers_fp32"] == ["a", "b"]


def test_a_dynamic_input_has_a_shape_to_run_at() -> None:
    dynamic = (TensorSpec("x", "float32", ("N", 3, 8, 8)),)
    assert of(inputs=dynamic, shapes={"x": (2, 3, 8, 8)})["engine"]["shapes"] == {"x": [2, 3, 8, 8]}
    ends = {"min": (1, 3, 8, 8), "opt": (4, 3, 8, 8), "max": (8, 3, 8, 8)}
    made = of(inputs=dynamic, profile={"x": ends})["engine"]
    assert made["shapes"] == {"x": [4, 3, 8, 8]}
    assert made["profile"]["x"]["max"] == [8, 3, 8, 8]
    with pytest.raises(UsageError, match="is dynamic"):
        of(inputs=dynamic)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "xavier has no int4"),
        ({"dla": 2}, "xavier has no DLA core 2"),
        ({"dla": 0, "precision": "fp32"}, "DLA computes no fp32"),
        ({"tensorrt": "10.3.0"}, r"xavier has no TensorRT 10\.3\.0"),
        ({"board": "rpi4"}, "rpi4 has no TensorRT"),
    ],
)
def test_what_the_board_does_not_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        of(**options)
