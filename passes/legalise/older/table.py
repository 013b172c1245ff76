"""The tables: operators as others, and what an opset changed in the terms of the one before.

An operator that is not named here may stay as it is if `schemas` finds that it means the same.
"""

from __future__ import annotations

from passes.legalise.older import (
    activations,
    axes,
    integers,
    normalisations,
    pad,
    pooling,
    quantisation,
    resize,
    restate,
    split,
)
from passes.legalise.older.emitter import Rewrite

FORMS: dict[str, Rewrite] = {
    "Celu": activations.celu,
    "Gelu": activations.gelu,
    "GroupNormalization": normalisations.group_normalization,
    "HardSigmoid": activations.hard_sigmoid,
    "HardSwish": activations.hard_swish,
    "LayerNormalization": normalisations.layer_normalization,
    "Mish": activations.mish,
    "RMSNormalization": normalisations.rms_normalization,
    "Shrink": activations.shrink,
    "Swish": activations.swish,
    "ThresholdedRelu": activations.thresholded_relu,
}
"""Operators that an engine may lack, each as others."""
BRIDGES: dict[tuple[str, int], Rewrite] = {
    ("AveragePool", 19): pooling.without_dilations,
    ("AveragePool", 22): pooling.as_before_22,
    ("BatchNormalization", 14): restate.batch_normalization,
    ("Cast", 19): quantisation.without_saturate,
    ("Cast", 24): quantisation.without_saturate,
    ("CastLike", 15): activations.cast_like,
    ("CastLike", 19): quantisation.without_saturate,
    ("CastLike", 24): quantisation.without_saturate,
    ("Celu", 12): FORMS["Celu"],
    ("Clip", 12): integers.clip,
    ("Constant", 12): restate.constant_value,
    ("DequantizeLinear", 13): quantisation.per_tensor,
    ("DequantizeLinear", 23): quantisation.without_output_dtype,
    ("Dropout", 12): restate.dropout,
    ("Gelu", 20): FORMS["Gelu"],
    ("GreaterOrEqual", 12): activations.or_equal,
    ("GridSample", 20): restate.grid_sample,
    ("GroupNormalization", 18): FORMS["GroupNormalization"],
    ("GroupNormalization", 21): FORMS["GroupNormalization"],
    ("HardSwish", 14): FORMS["HardSwish"],
    ("Hardmax", 13): axes.softmax,
    ("LayerNormalization", 17): FORMS["LayerNormalization"],
    ("LessOrEqual", 12): activations.or_equal,
    ("LogSoftmax", 13): axes.softmax,
    ("LpPool", 18): pooling.without_dilations,
    ("LpPool", 22): pooling.as_before_22,
    ("Max", 12): integers.extreme,
    ("MaxPool", 22): pooling.as_before_22,
    ("Min", 12): integers.extreme,
    ("Mish", 18): FORMS["Mish"],
    ("Pad", 18): pad.without_axes,
    ("Pad", 19): pad.wrap,
    ("Pow", 12): integers.power,
    ("QuantizeLinear", 13): quantisation.per_tensor,
    ("QuantizeLinear", 19): quantisation.without_saturate,
    ("QuantizeLinear", 21): quantisation.without_output_dtype,
    ("QuantizeLinear", 23): quantisation.without_precision,
    ("RMSNormalization", 23): FORMS["RMSNormalization"],
    **{(f"Reduce{kind}", 18): axes.axes_to_attribute for kind in axes.REDUCTIONS},
    ("ReduceSum", 13): axes.axes_to_attribute,
    ("Reshape", 14): restate.reshape,
    ("Resize", 13): resize.as_before_13,
    ("Resize", 18): resize.as_before_18,
    ("Resize", 19): resize.without_symmetric,
    ("Shape", 15): restate.shape,
    ("Softmax", 13): axes.softmax,
    ("Split", 13): split.sizes_to_attribute,
    ("Split", 18): split.without_num_outputs,
    ("Squeeze", 13): axes.axes_to_attribute,
    ("Swish", 24): FORMS["Swish"],
    ("Unsqueeze", 13): axes.axes_to_attribute,
}
"""By operator and the opset that brought it or changed it."""
