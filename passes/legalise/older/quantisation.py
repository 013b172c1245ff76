"""QuantizeLinear, DequantizeLinear and Cast: attributes that say what is so anyway."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal
from passes.legalise.older.emitter import Emitter, reads, sizes_of

_FLOAT8 = {dtype for dtype in ir.DataType if dtype.name.startswith("FLOAT8")}


def without_saturate(node: ir.Node, build: Emitter) -> None:
    """`saturate` and `round_mode` are about eight-bit floating point."""
    if node.outputs[0].dtype not in _FLOAT8:
        node.attributes.pop("saturate", None)
        node.attributes.pop("round_mode", None)


def without_output_dtype(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """The type of the output follows from the zero point (from the scale when dequantising)."""
    wanted = ir.DataType(node.attributes.get_int("output_dtype", 0))
    index = 2 if node.op_type == "QuantizeLinear" else 1
    if wanted == ir.DataType.UNDEFINED:
        return None
    given = node.inputs[index] if reads(node, index) else None
    if given is not None and given.dtype != wanted:
        return Refusal(f"its output is {wanted.name}, unlike its inputs")
    node.attributes.pop("output_dtype")
    if given is not None or wanted == ir.DataType.UINT8:
        return None
    sizes = sizes_of(node.inputs[1])
    if sizes is None or None in sizes:
        return Refusal("the shape of its scale is not known")
    build.set_input(2, np.zeros([size or 0 for size in sizes], wanted.numpy()))
    return f"its zero point says {wanted.name}"


def without_precision(node: ir.Node, build: Emitter) -> Refusal | None:
    """Quotients in the type of the scale, as ever."""
    wanted = node.attributes.get_int("precision", 0)
    scale = node.inputs[1]
    if wanted and (scale is None or scale.dtype != wanted):
        return Refusal("it divides in a type that is not its scale's")
    node.attributes.pop("precision", None)
    return None


def per_tensor(node: ir.Node, build: Emitter) -> Refusal | None:
    """One scale for all: one for each channel came with opset 13."""
    sizes = sizes_of(node.inputs[1])
    if sizes is None or any(size != 1 for size in sizes):
        return Refusal("it has a scale for each channel, which came with opset 13")
    node.attributes.pop("axis", None)
    return None
