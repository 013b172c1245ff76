"""Single operators whose older form says the same in other attributes, inputs or words."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal, constant
from passes.legalise.older.emitter import Emitter, is_read, numbers, reads, sizes_of

_GRID_MODES = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}


def batch_normalization(node: ir.Node, build: Emitter) -> str | Refusal:
    """In inference: training_mode, and other names for its inputs, came with opset 14."""
    if node.attributes.get_int("training_mode", 0) or len(node.outputs) > 1:
        return Refusal("it is in training mode")
    node.attributes.pop("training_mode", None)
    return ""


def dropout(node: ir.Node, build: Emitter) -> str | Refusal:
    """In inference it does nothing, whatever the ratio, which was an attribute before opset 12."""
    if is_read(node, 1):
        return Refusal("its mask is read")
    training = constant(node.inputs[2]) if reads(node, 2) else np.zeros(1)
    if training is None or training.any():
        return Refusal("it is in training mode, or that is decided at run time")
    build.keep_inputs(1)
    node.attributes.pop("seed", None)
    return ""


def grid_sample(node: ir.Node, build: Emitter) -> str | Refusal:
    """Before opset 20 the modes had other names, and images two dimensions."""
    sizes = sizes_of(build.x)
    if sizes is None or len(sizes) != 4:
        return Refusal("it samples from other than two dimensions")
    mode = _GRID_MODES[node.attributes.get_string("mode", "linear")]
    node.attributes.add(ir.AttrString("mode", mode))
    return f"its mode is called {mode}"


def shape(node: ir.Node, build: Emitter) -> str | None:
    """A part of a shape is a Slice of it."""
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get("end")
    if start == 0 and end is None:
        return None
    whole = build.op("Shape", build.x, dtype=ir.DataType.INT64)
    limits = (start, np.iinfo(np.int64).max if end is None else end.as_int(), 0)
    build.replace_by(build.op("Slice", whole, *(np.array([limit], np.int64) for limit in limits)))
    return "Slice of a Shape"


def reshape(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """A 0 in the shape is the size of the input, unless allowzero says that it is 0."""
    if not node.attributes.get_int("allowzero", 0):
        return None
    wanted = numbers(node, 1)
    if wanted is None or 0 in wanted:
        return Refusal("it makes a tensor with a size of 0, or its shape comes at run time")
    node.attributes.pop("allowzero")
    return ""


def constant_value(node: ir.Node, build: Emitter) -> str | None:
    """A number or list as a tensor."""
    name, given = next(iter(node.attributes.items()))
    kind = name.removeprefix("value_").removesuffix("s")
    if kind not in ("float", "int"):
        return None
    dtype = np.float32 if kind == "float" else np.int64
    node.attributes.pop(name)
    node.attributes.add(ir.AttrTensor("value", ir.tensor(np.array(given.value, dtype))))
    return "its value is a tensor"
