"""Rules for element types: what TensorRT has, what it narrows, and what quantisation asks for."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from targets.tensorrt.operators.rule import Rule
from targets.tensorrt.operators.site import Site
from targets.tensorrt.versions import Number

NATIVE = ("FLOAT", "FLOAT16", "INT8", "INT32", "BOOL")
ADDED: dict[str, Number] = {
    **dict.fromkeys((*NATIVE, "INT64"), (7, 1)),
    "DOUBLE": (8, 0),
    "UINT8": (8, 5),
    **dict.fromkeys(("BFLOAT16", "FLOAT8E4M3FN"), (9, 0)),
    "INT4": (10, 0),
    "FLOAT4E2M1": (10, 8),
}
"""The release from which tensors may be of a type. INT64 is narrowed to INT32 below 10.0, DOUBLE
to FLOAT in all."""
CAST: dict[str, Number] = {**ADDED, "UINT8": (8, 6)}
"""The same for Cast."""
QUANTISERS = "QuantizeLinear DequantizeLinear"


def since(dtype: int, table: dict[str, Number] = ADDED) -> Number | None:
    """Return the release from which there are tensors of an ONNX type, or None for none."""
    return table.get(name(dtype))


def name(dtype: int) -> str:
    """Return ONNX's name of a type."""
    return str(TensorProto.DataType.Name(dtype))


def _zero(site: Site) -> str | None:
    point = site.constant(2)
    if point is not None and np.any(point.astype(np.int32)):
        return "quantises around zero alone; this zero point is another"
    return None


def _signed(site: Site) -> str | None:
    kind = site.dtype(2) if site.given(2) else TensorProto.UNDEFINED
    if site.kind == "DequantizeLinear" and not site.given(2):
        kind = site.dtype(0)
    elif not site.given(2):
        kind = site.attribute("output_dtype", 0) or TensorProto.UINT8  # ONNX's default
    if kind in (TensorProto.UINT8, TensorProto.UINT16, TensorProto.INT16):
        return f"quantises to INT8 alone; this is {name(kind)}"
    return None


def _scale_known(site: Site) -> str | None:
    if site.computed(1) or site.computed(2):
        return f"takes the scale and zero point of {site.kind} as initializers alone"
    return None


SYMMETRIC = "quantise symmetrically, to int8 with zero point 0"
RULES = (
    Rule(QUANTISERS, _signed, SYMMETRIC),
    Rule(QUANTISERS, _zero, SYMMETRIC),
    Rule(QUANTISERS, _scale_known, "quantise with fixed scales", until=(8, 0)),
)
