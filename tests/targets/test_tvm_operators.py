"""The operators whose reading by TVM edgecc corrects, one network each, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from tvm_networks import (
    by_onnxruntime,
    by_tvm,
    error,
    floats,
    given,
    ints,
    network,
    normal,
)


def cases() -> dict[str, tuple[Any, ...]]:
    """Opset, operator, further inputs, attributes, shape of x (default 1x4x13x11)."""
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    plain = {"kernel_shape": [3, 3]}
    big = (1, 2, 300, 300)
    scales = {"s": floats(1, 1, 0.5, 1.7)}
    table: dict[str, tuple[Any, ...]] = {
        "Conv grouped, strided, dilated": (
            13, "Conv", {"w": normal(8, 2, 3, 2), "b": normal(8)},
            {"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 2, 0, 1]},
        ),
        "Conv depthwise": (13, "Conv", {"w": normal(4, 1, 3, 3)}, {"group": 4}),
        "Conv auto_pad": (7, "Conv", {"w": normal(6, 4, 3, 3)}, {"auto_pad": "SAME_LOWER"}),
        "Conv 1-d": (11, "Conv", {"w": normal(6, 4, 3)}, {"pads": [1, 1]}, (1, 4, 13)),
        "ConvTranspose": (
            11, "ConvTranspose", {"w": normal(4, 3, 3, 4), "b": normal(6)},
            {"group": 2, "pads": [1, 0, 0, 1], "strides": [2, 3], "output_padding": [1, 2]},
        ),
        "ConvTranspose output_shape": (
            11, "ConvTranspose", {"w": normal(4, 3, 3, 3)},
            {"strides": [2, 2], "output_shape": [26, 22]},
        ),
        "ConvTranspose output_shape SAME_UPPER": (
            11, "ConvTranspose", {"w": normal(4, 3, 3, 3)},
            {"strides": [2, 2], "output_shape": [25, 23], "auto_pad": "SAME_UPPER"},
        ),
        "MaxPool SAME_UPPER": (12, "MaxPool", {}, {**window, "auto_pad": "SAME_UPPER"}),
        "MaxPool SAME_LOWER": (12, "MaxPool", {}, {**window, "auto_pad": "SAME_LOWER"}),
        "MaxPool ceil_mode": (12, "MaxPool", {}, {**window, "ceil_mode": 1, "pads": [1] * 4}),
        "AveragePool counting pads": (
            11, "AveragePool", {},
            {**window, "ceil_mode": 1, "pads": [0, 0, 1, 1], "count_include_pad": 1},
        ),
        "AveragePool SAME_LOWER": (11, "AveragePool", {}, {**plain, "auto_pad": "SAME_LOWER"}),
        "InstanceNormalization": (
            13, "InstanceNormalization", {"s": normal(2), "b": normal(2)}, {"epsilon": 1e-3}, big,
        ),
        "InstanceNormalization opset 18": (
            18, "InstanceNormalization", {"s": normal(4), "b": normal(4)}, {},
        ),
        "BatchNormalization": (
            8, "BatchNormalization",
            {"s": normal(4), "b": normal(4), "m": normal(4), "v": np.abs(normal(4)) + 1}, {},
        ),
        "GroupNormalization": (
            21, "GroupNormalization", {"s": normal(4), "b": normal(4)}, {"num_groups": 2},
        ),
        "Pad reflect, attribute": (
            10, "Pad", {}, {"pads": [0, 0, 2, 1, 0, 0, 1, 3], "mode": "reflect"},
        ),
        "Pad reflect": (13, "Pad", {"p": ints(0, 0, 2, 1, 0, 0, 1, 3)}, {"mode": "reflect"}),
        "Pad negative": (13, "Pad", {"p": ints(0, 0, -2, 1, 0, 0, 1, -3)}, {}),
        "Slice, attributes": (
            9, "Slice", {}, {"starts": [1, -4], "ends": [1000, -1], "axes": [1, 3]},
        ),
        "Slice, attributes, no axes": (9, "Slice", {}, {"starts": [0, 1], "ends": [1, 3]}),
        "Slice backwards": (
            13, "Slice",
            {"s": ints(-1), "e": ints(-(2**62)), "a": ints(2), "t": ints(-1)}, {},
        ),
        "Clip, attributes": (7, "Clip", {}, {"min": 0.0, "max": 0.6}),
        "Dropout": (7, "Dropout", {}, {}),
        "Unsqueeze, attribute": (11, "Unsqueeze", {}, {"axes": [0, 3]}),
        "Softmax before 13": (11, "Softmax", {}, {"axis": 1}),
        "Softmax from 13": (13, "Softmax", {}, {"axis": 1}),
        "Pow of another type": (13, "Pow", {"e": np.array(2, np.int64)}, {}),
        "DepthToSpace CRD": (
            13, "DepthToSpace", {}, {"blocksize": 2, "mode": "CRD"}, (1, 8, 5, 6),
        ),
        "SpaceToDepth": (13, "SpaceToDepth", {}, {"blocksize": 2}, (1, 3, 6, 8)),
        "PRelu": (16, "PRelu", {"s": normal(4, 1, 1)}, {}),
        "LRN": (13, "LRN", {}, {"size": 5, "alpha": 0.1}),
        "Celu, a function of ONNX": (13, "Celu", {}, {"alpha": 2.0}),
        "Tile over odd sizes": (13, "Tile", {"r": ints(1, 6, 4, 1)}, {}, (2, 3, 4, 5)),
        "Upsample opset 7": (7, "Upsample", {}, {"scales": [1.0, 1.0, 2.0, 3.0]}),
        "Upsample opset 9": (9, "Upsample", {"s": floats(1, 1, 2, 2)}, {"mode": "linear"}),
        "Resize opset 10, up": (10, "Resize", {"s": floats(1, 1, 2, 3)}, {"mode": "linear"}),
        "Resize opset 10, down": (10, "Resize", {"s": floats(1, 1, 0.6, 0.6)}, {}),
        "Resize opset 11": (
            11, "Resize", {"r": floats(), **scales},
            {"coordinate_transformation_mode": "asymmetric"},
        ),
        "Resize sizes": (
            13, "Resize", {"": None, " ": None, "z": ints(1, 4, 20, 7)},
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        ),
        "Resize cubic": (
            13, "Resize", {"": None, **scales}, {"mode": "cubic", "exclude_outside": 1},
        ),
        "Resize antialias": (
            18, "Resize", {"": None, "s": floats(1, 1, 0.6, 0.4)},
            {"mode": "linear", "antialias": 1},
        ),
        "Resize axes": (
            18, "Resize", {"": None, " ": None, "z": ints(20, 20)},
            {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger", "mode": "linear"},
        ),
        "Resize to the same size": (13, "Resize", {"": None, "s": floats(1, 1, 1, 1)}, {}),
    }  # fmt: skip
    modes = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    table |= {
        f"Resize {mode} {coordinates}": (
            13, "Resize", {"": None, **scales},
            {"mode": mode, "coordinate_transformation_mode": coordinates},
        )
        for mode in ("nearest", "linear", "cubic")
        for coordinates in modes
    }  # fmt: skip
    return table


CASES = cases()


def case_model(name: str) -> onnx.ModelProto:
    opset, kind, inputs, attributes, *shape = CASES[name]
    weights = {key: array for key, array in inputs.items() if array is not None}
    names = [key.strip() for key in inputs]
    node = helper.make_node(kind, ["x", *names], ["y"], **attributes)
    return network(opset, [node], weights, shape[0] if shape else (1, 4, 13, 11))


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnxruntime(name: str, tmp_path: Path) -> None:
    if name == "AveragePool counting pads" and onnxruntime_version() < (1, 24):
        pytest.skip("this onnxruntime divides by the wrong count (1.23.2 does, 1.31.1 does not)")
    model = case_model(name)
    before = model.SerializeToString()
    (got,) = by_tvm(model, given(model))
    (wanted,) = by_onnxruntime(model, given(model))
    assert error(wanted, got) < 2e-5
    assert model.SerializeToString() == before


def onnxruntime_version() -> tuple[int, ...]:
    return tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
