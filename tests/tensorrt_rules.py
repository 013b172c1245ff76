"""Nodes that some releases of TensorRT take and others refuse.

Each is a body that makes y, its weights, releases that take it, releases that do not, and what
these say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers import normal

MAP = "float[1,3,9,9] x"


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


PADS = {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}
RESIZE = {"s": floats(1, 1, 2, 2)}
W = {"w": normal(4, 3, 3, 3)}
ASYMMETRIC = 'coordinate_transformation_mode="asymmetric"'
SCALE = np.float32(0.1)
RULES: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("y = Det(x)", {}, "", "7.1 8.5 10.3 10.15", "has no Det"),
    ("y = GridSample(x, x)", {}, "8.5 8.6 10.3", "7.1 8.2 8.4", "has no GridSample"),
    ("y = HardSwish(x)", {}, "8.4 8.5", "7.1 8.2", "has no HardSwish"),
    ("y = LayerNormalization(x, x)", {}, "8.6 10.0", "8.5", "has no LayerNormalization"),
    ("y, m = LayerNormalization(x, x)", {}, "", "8.6 10.0", "has the first output"),
    ("y = Mish(x)", {}, "10.0", "8.6", "has no Mish"),
    ("y = Einsum <equation='ii->i'> (x)", {}, "10.3", "8.0 8.5", "Einsum"),
    ("y = Einsum <equation='...i->i'> (x)", {}, "10.3", "8.2", "knows no ellipsis"),
    ("y = Einsum <equation='ij,jk->ik'> (a, b)", {}, "8.2 8.5", "8.0", "has no Einsum"),
    ("y = Einsum <equation='ij,ij->i'> (a, c)", {}, "10.3", "8.2", "does not broadcast"),
    ("y = Mod(x, x)", {}, "8.5", "8.4", "has no Mod"),
    ("y = Round(x)", {}, "8.2", "8.0", "has no Round"),
    ("y = RoiAlign(x, x, x)", {}, "8.5", "8.4", "has no RoiAlign"),
    ("y = ScatterND(x, x, x)", {}, "8.2", "8.0", "has no ScatterND"),
    ("y = ScatterND <reduction='add'> (x, x, x)", {}, "", "8.5 10.15", "knows no reduction=add"),
    ("y = ScatterElements <reduction='add'> (x, x, x)", {}, "10.0", "8.5", "knows no reduction"),
    ("y = Reciprocal(x)  d = Dropout(x)", {}, "7.1 8.5", "", ""),
    # convolutions
    ("y = Conv(x, w)", W, "7.1 8.0 8.5", "", ""),
    ("y = Conv <pads=[1,0,2,1]> (x, w)", W, "7.1 8.0 8.5", "", ""),
    ("y = Conv(l, w)", {"w": normal(4, 3, 3)}, "7.1 8.0 8.5", "", ""),
    ("y = Conv(q, w)", {"w": normal(4, 3, 1, 1, 1, 1)}, "", "7.1 10.3", "spatial dimensions"),
    ("v = Relu(x) y = Conv(x, v)", {}, "8.5 8.6", "7.1 8.4", "takes the weights"),
    ("y = ConvTranspose <output_padding=[1,1], strides=[2,2]> (x, w)", W, "7.1 8.5", "", ""),
    ("y = ConvTranspose <dilations=[2,2]> (x, w)", W, "8.0", "7.1", "takes no dilations"),
    ("y = MatMul(i, i)", {}, "", "7.1 8.5", "multiplies no integers"),
    # pools
    ("y = MaxPool <kernel_shape=[3,3], ceil_mode=1> (x)", {}, "7.1 8.5", "", ""),
    ("y = AveragePool <kernel_shape=[3,3], count_include_pad=1> (x)", {}, "7.1", "", ""),
    ("y = AveragePool <kernel_shape=[3,3,3]> (v)", {}, "7.1 8.5", "", ""),
    ("y = AveragePool <kernel_shape=[3,3,3,3]> (q)", {}, "", "7.1 8.5", "2-D and 3-D windows"),
    ("y = MaxPool <kernel_shape=[3,3], dilations=[2,2]> (x)", {}, "", "7.1 8.5 10.3", "dilations"),
    ("y, k = MaxPool <kernel_shape=[3,3]> (x)", {}, "", "7.1 8.5 10.3", "Indices"),
    # normalisation
    ("y = InstanceNormalization(x, b, b)", {"b": normal(3)}, "7.1 8.5", "", ""),
    ("s = Relu(a) y = InstanceNormalization(x, s, s)", {}, "10.0", "7.1 8.5", "scale and B"),
    ("y = InstanceNormalization(v, b, b)", {"b": normal(3)}, "8.0", "7.1", "one or two spatial"),
    ("y = InstanceNormalization(q, b, b)", {"b": normal(3)}, "10.0", "8.5", "3 to 5 dimensions"),
    # pads
    ("y = Pad(x, p)", PADS, "7.1 8.0 8.5", "", ""),
    ("y = Pad(x, p, n)", {**PADS, "n": np.float32(1)}, "8.2", "7.1 8.0", "pads with 0 alone"),
    ("y = Pad <mode='reflect'> (x, p)", PADS, "8.2 8.5", "7.1 8.0", "this mode is reflect"),
    ("y = Pad <mode='wrap'> (x, p)", PADS, "10.0", "8.2 8.5", "knows no mode=wrap"),
    ("y = Pad(x, p)", {"p": ints(0, 1, 0, 0, 0, 1, 0, 0)}, "8.0", "7.1", "the last two dimensions"),
    ("y = Pad(x, p)", {"p": ints(0, 1, 1, 1, 0, 0, 0, 0)}, "8.2", "8.0", "pads two dimensions"),
    ("s = Shape(x) y = Pad(x, s)", {}, "8.2", "8.0", "takes pads of Pad as an initializer"),
    ("y = Pad(x, p, , c)", {"p": ints(1, 1), "c": ints(3)}, "7.1 8.0 8.5 10.3", "", ""),
    # resizing
    (f"y = Resize <{ASYMMETRIC}, mode='linear'> (x, , s)", RESIZE, "7.1 8.0", "", ""),
    ("y = Resize <mode='linear'> (x, , s)", RESIZE, "8.0 8.5", "7.1", "resizes asymmetric alone"),
    (f"y = Resize <{ASYMMETRIC}> (x, , s)", RESIZE, "8.0", "7.1", "takes the nearest by floor"),
    ("y = Resize <mode='cubic'> (x, , s)", RESIZE, "8.6 10.3", "8.0 8.5", "mode=cubic"),
    (
        "y = Resize <coordinate_transformation_mode='tf_crop_and_resize'> (x, r, s)",
        {**RESIZE, "r": normal(8)},
        "",
        "7.1 8.5 10.3",
        "tf_crop_and_resize",
    ),
    ("h = Relu(f) y = Resize(x, , h)", {}, "8.2 8.4", "8.0", "takes the scales of Resize"),
    ("y = Resize <antialias=1> (x, , s)", RESIZE, "", "10.3", "without antialiasing"),
    # what is taken apart
    ("y = Slice(x, o, t, c)", {"o": ints(0), "t": ints(2), "c": ints(1)}, "7.1 8.5", "", ""),
    ("h = Shape(x) y = Slice(x, o, o, h)", {"o": ints(0)}, "10.3", "8.5", "takes the axes"),
    ("y, z = Split(x, o)", {"o": ints(1, 2)}, "8.0", "", ""),
    ("h = Shape(x) y = Split(x, h)", {}, "8.2", "8.0", "takes the sizes"),
    ("y = Clip(x, n)", {"n": np.float32(0)}, "7.1", "", ""),
    ("n = ReduceMin(x) y = Clip(x, n)", {}, "8.2", "7.1", "takes min and max"),
    ("h = Shape(x) y = CumSum(x, h)", {}, "", "8.5", "takes the axis of CumSum"),
    ("h = Shape(x) y = Unsqueeze(x, h)", {}, "", "8.5", "takes the axes of Unsqueeze"),
    ("y = Reshape(x, o)", {"o": ints(0, -1)}, "7.1 8.5", "", ""),
    # choosing
    ("y, z = TopK(x, o)", {"o": ints(3840)}, "7.1 8.5", "", ""),
    ("y, z = TopK(x, o)", {"o": ints(3841)}, "", "7.1 8.5 10.3", "3840 values in TopK"),
    ("y, z = TopK <sorted=0> (x, o)", {"o": ints(5)}, "8.5", "10.3", "sorted"),
    ("h = Shape(x) y, z = TopK(x, h)", {}, "8.6", "8.5", "takes K of TopK"),
    ("y = ArgMax(i)", {}, "8.6", "8.5", "takes no integers in ArgMax"),
    ("y = GatherElements(x, o)", {"o": ints(-1)}, "8.2", "8.0", "takes no negative indices"),
    ("y = ReverseSequence(n, i)", {}, "8.6", "8.5", "takes fixed sizes alone"),
    ("h = ReduceMin(x) y = Range(h, h, h)", {}, "8.4", "8.2", "takes fractions in Range"),
    ("y = NonMaxSuppression(x, x, o)", {"o": ints(5)}, "8.0 8.5", "7.1", "NonMaxSuppression"),
    ("h = Shape(x) y = NonMaxSuppression(x, x, h)", {}, "8.5", "8.4", "takes its limits"),
    ("y = GridSample(v, v)", {}, "", "8.5 10.3", "4 dimensions"),
    # quantisation
    ("y = QuantizeLinear(x, s, z)", {"s": SCALE, "z": np.int8(0)}, "8.0 8.5 10.3", "7.1", "has no"),
    ("y = QuantizeLinear(x, s, z)", {"s": SCALE, "z": np.uint8(0)}, "", "8.5", "this is UINT8"),
    ("y = QuantizeLinear(x, s)", {"s": SCALE}, "", "8.5", "this is UINT8"),
    ("y = QuantizeLinear(x, s, z)", {"s": SCALE, "z": np.int8(3)}, "", "8.5", "around zero alone"),
    (
        "p = QuantizeLinear(w, s, z) d = DequantizeLinear(p, s, z) y = Conv(x, d)",
        {**W, "s": SCALE, "z": np.int8(0)},
        "8.0 8.5",
        "",
        "",
    ),
    # types
    ("y = Cast <to=1> (x)", {}, "7.1", "", ""),
    ("y = Cast <to=11> (x)", {}, "8.0", "7.1", "casts to no DOUBLE"),
    ("y = Cast <to=2> (x)", {}, "8.6", "8.5", "casts to no UINT8"),
    ("y = Cast <to=5> (x)", {}, "", "7.1 8.5 10.3", "casts to no INT16"),
    ("y = Add(x, e)", {"e": np.ones(9)}, "8.0", "7.1", "has no tensors of DOUBLE; Add reads one"),
    ("y = Cast <to=1> (e)", {"e": np.array(["a"], object)}, "", "8.5", "tensors of STRING"),
    ("y = Sum(x, e)", {"e": np.ones(9, np.uint8)}, "7.1", "", ""),
    # foreign operators
    ("y = com.microsoft.Gelu(x)", {}, "", "7.1 8.5 10.3", "has no com.microsoft::Gelu"),
    ("y = If(k) <then_branch = t () => (float[] u) { u = Det(x) }, else_branch = e () =>"
     " (float[] o) { o = Relu(x) }>", {}, "", "8.5", "has no Det"),
]  # fmt: skip
INPUTS = (
    f"{MAP}, float[1,3,9] l, float[1,3,9,9,9] v, float[1,3,9,9,9,9] q, float[3,4] a, float[4,5] b,"
    " float[1,4] c, int32[4,4] i, float[4] f, float[N,4] n, bool k"
)
