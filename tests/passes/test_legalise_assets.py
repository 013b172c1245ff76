"""Real networks, as they came and raised to opset 21, legalised for each TensorRT."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import outputs, random_inputs
from onnx import version_converter
from tensorrt_parser import complaints

from edgecc import catalog, shapes
from edgecc.model import load

pytestmark = pytest.mark.slow
MODELS = {
    "cifar10/cmsisnn_m7_5x5": None,
    "cifar10/mlperf_resnet8_wide": None,
    "cifar10/resnet20": None,
    "cifar10/resnet56": None,
    "detect/version-RFB-320": None,
    "detect/version-RFB-320_simplified": None,
    "imagenet/squeezenet1.1_fp16": None,
    "misc/mlperf_vww96": None,
    "mnist/mnist_cntk": None,
    "restore/dncnn25": (1, 1, 48, 48),
    "restore/srmdnf_x2": (1, 18, 32, 32),
    "restore/super-resolution-10": None,
    "style/candy_std_opset13": (1, 3, 224, 224),
}
"""With the size of the input, where the file leaves it open."""
LEGALISE = (
    "expand_operators(operators=LayerNormalization), lower_opset(opset={}), infer_shapes, "
    "fold_constants, remove_unused, narrow_int64, sanitise_names, infer_shapes"
)
NEWEST = 21
"""The opset that the models are raised to."""


@functools.cache
def prepared(path: Path, size: tuple[int, ...] | None) -> onnx.ModelProto:
    model = load(path)
    shapes.settle(model, {"": size} if size else {}, dynamic=False)
    catalog.prepare().run(model)
    return ir.to_proto(model)


def raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """By ONNX's own converter."""
    new = version_converter.convert_version(model, NEWEST)
    new.ir_version = 10
    named = ir.from_proto(new)
    catalog.pipeline("name_everything, lift_constants, infer_shapes").run(named)
    return ir.to_proto(named)


def largest_gap(before: onnx.ModelProto, after: ir.Model) -> float:
    """The largest difference of two models, in shares of the largest number of each output."""
    feeds = random_inputs(before)
    reference, found = outputs(before, **feeds), outputs(after, **feeds)
    assert list(reference) == list(found)
    return max(
        float(np.abs(reference[n] - found[n]).max() / np.abs(reference[n]).max()) for n in found
    )


@pytest.mark.parametrize("opset", [17, 13, 11])
@pytest.mark.parametrize("new", [False, True], ids=["as it came", f"opset {NEWEST}"])
@pytest.mark.parametrize("name", MODELS)
def test_legalised(assets: Path, name: str, new: bool, opset: int) -> None:
    before = prepared(assets / "models" / f"{name}.onnx", MODELS[name])
    before = raised(before) if new else before
    model = ir.from_proto(onnx.ModelProto.FromString(before.SerializeToString()))
    catalog.pipeline(LEGALISE.format(opset)).run(model)
    assert model.opset_imports[""] == min(opset, before.opset_import[0].version)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert not {node.op_type for node in model.graph} & {"Shape", "Gather", "ConstantOfShape"}
    assert largest_gap(before, model) < 1e-6
    assert complaints(proto) == []
