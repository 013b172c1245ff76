"""Operators in their newest form, as cases for lowering the opset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from helpers import normal, parse

IMAGE = "float[1,4,6,6] x"


@dataclass(frozen=True)
class Case:
    """A network of one operator, or few."""

    opset: int
    body: str
    weights: dict[str, Any] = field(default_factory=dict)
    inputs: str = IMAGE
    oldest: int = 11
    """The oldest opset that it has a form in."""

    def model(self) -> onnx.ModelProto:
        names = [name for name in "yz" if f"{name} = " in self.body or f"{name}, " in self.body]
        outputs = ", ".join(f"float {name}" for name in names)
        text = f"g ({self.inputs}) => ({outputs}) {{ {self.body} }}"
        model = parse(text, self.weights, opset=self.opset)
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        return model


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def real(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


AXES = {"axes": whole(1, -1)}
FOUR = {"s": normal(4, seed=1), "b": normal(4, seed=2)}
SPLIT_SIZES = {"sizes": whole(1, 3)}
GRID = {"grid": np.clip(normal(1, 5, 5, 2), -1, 1)}
QUANTISED = {"s": np.float32(0.03), "zero": np.uint8(128)}
CASES = {
    "Gelu": Case(20, "y = Gelu(x)"),
    "Gelu tanh": Case(20, 'y = Gelu <approximate="tanh"> (x)'),
    "Swish": Case(24, "y = Swish(x)"),
    "Swish alpha": Case(24, "y = Swish <alpha=1.7> (x)"),
    "Mish": Case(18, "y = Mish(x)"),
    "HardSwish": Case(14, "y = HardSwish(x)"),
    "HardSwish 22": Case(22, "y = HardSwish(x)"),
    "Celu": Case(12, "y = Celu(x)"),
    "Celu alpha": Case(13, "y = Celu <alpha=0.4> (x)"),
    "LayerNorm": Case(17, "y = LayerNormalization <axis=-2> (x, w)", {"w": normal(6, 6)}),
    "LayerNorm bias": Case(
        17, "y = LayerNormalization <epsilon=0.1> (x, w, b)", {"w": normal(6), "b": normal(6)}
    ),
    "RMSNorm": Case(23, "y = RMSNormalization <axis=2> (x, w)", {"w": normal(6, 6)}),
    "GroupNorm": Case(21, "y = GroupNormalization <num_groups=2> (x, s, b)", FOUR),
    "GroupNorm each": Case(21, "y = GroupNormalization <num_groups=4> (x, s, b)", FOUR),
    "GroupNorm 18": Case(
        18,
        "y = GroupNormalization <num_groups=2> (x, s, b)",
        {"s": normal(2, seed=1), "b": normal(2, seed=2)},
    ),
    "GroupNorm open": Case(
        21, "r = Relu(x) y = GroupNormalization <num_groups=2> (r, s, b)", FOUR, "float[N,4,H,W] x"
    ),
    **{
        f"Reduce{kind}": Case(18, f"a = Abs(x) y = Reduce{kind} <keepdims=0> (a, axes)", AXES)
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
    },
    "ReduceMean all": Case(18, "y = ReduceMean(x)"),
    "ReduceMean none": Case(18, "y = ReduceMean <noop_with_empty_axes=1> (x)"),
    "ReduceSum": Case(13, "y = ReduceSum(x, axes)", AXES),
    "ReduceSum none": Case(13, "y = ReduceSum <noop_with_empty_axes=1> (x, a)", {"a": whole()}),
    "ReduceSum all": Case(13, "y = ReduceSum(x)"),
    "Squeeze": Case(21, "m = GlobalAveragePool(x) y = Squeeze(m, a)", {"a": whole(2, -1)}),
    "Squeeze all": Case(13, "m = GlobalAveragePool(x) y = Squeeze(m)"),
    "Unsqueeze": Case(21, "y = Unsqueeze(x, a)", {"a": whole(-1, 0)}),
    "Split parts": Case(18, "y, z = Split <num_outputs=2, axis=1> (x)"),
    "Split uneven": Case(
        20, "y, u, z = Split <num_outputs=3, axis=-1> (x)", inputs="float[1,4,6,7] x"
    ),
    "Split sizes": Case(13, "y, z = Split <axis=1> (x, sizes)", SPLIT_SIZES),
    "Split even": Case(13, "y, z = Split <axis=2> (x)"),
    "Pad axes": Case(18, "y = Pad(x, p, , a)", {"p": whole(1, 0, 2, 1), "a": whole(-1, 1)}),
    "Pad value": Case(
        19,
        "y = Pad(x, p, v, a)",
        {"p": whole(1, 2), "v": np.float32(0.5), "a": whole(3)},
    ),
    "Pad wrap": Case(19, 'y = Pad <mode="wrap"> (x, p)', {"p": whole(0, 0, 1, 2, 0, 1, 0, 6)}),
    "Pad edge": Case(21, 'y = Pad <mode="edge"> (x, p)', {"p": whole(0, 0, 1, 2, 0, 0, 0, 1)}),
    "Resize": Case(13, "y = Resize(x, , s)", {"s": real(1, 1, 2, 1.5)}),
    "Resize sizes": Case(18, 'y = Resize <mode="linear"> (x, , , z0)', {"z0": whole(1, 4, 9, 13)}),
    "Resize axes": Case(
        18, 'y = Resize <mode="cubic", axes=[3, -2]> (x, , s)', {"s": real(1.5, 2.5)}
    ),
    "Resize axes sizes": Case(
        18, 'y = Resize <mode="linear", axes=[2, 3]> (x, , , z0)', {"z0": whole(9, 3)}
    ),
    "Resize antialias": Case(
        18, 'y = Resize <mode="linear", antialias=1> (x, , s)', {"s": real(1, 1, 2, 2)}
    ),
    "Resize not larger": Case(
        18,
        'y = Resize <mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_larger">'
        " (x, , , z0)",
        {"z0": whole(9, 12)},
    ),
    "Resize symmetric": Case(
        19,
        'y = Resize <mode="linear", coordinate_transformation_mode="half_pixel_symmetric">'
        " (x, , s)",
        {"s": real(1, 1, 1.5, 2)},
    ),
    "Resize symmetric sizes": Case(
        19,
        'y = Resize <mode="linear", coordinate_transformation_mode="half_pixel_symmetric">'
        " (x, , , z0)",
        {"z0": whole(1, 4, 9, 13)},
    ),
    "Softmax last": Case(13, "y = Softmax(x)"),
    "Softmax middle": Case(13, "y = Softmax <axis=1> (x)"),
    "LogSoftmax middle": Case(13, "y = LogSoftmax <axis=-2> (x)"),
    "Hardmax middle": Case(13, "y = Hardmax <axis=1> (x)"),
    "Softmax of points": Case(13, "m = GlobalAveragePool(x) y = Softmax <axis=1> (m)"),
    "BatchNorm": Case(15, "y = BatchNormalization(x, s, b, b, v)", FOUR | {"v": np.abs(normal(4))}),
    "BatchNorm said": Case(
        14,
        "y = BatchNormalization <training_mode=0> (x, s, b, b, v)",
        FOUR | {"v": np.abs(normal(4))},
    ),
    "Dropout": Case(22, "d = Dropout(x, r) y = Relu(d)", {"r": np.float32(0.7)}),
    "Dropout said": Case(
        13, "d = Dropout <seed=3> (x, r, t) y = Relu(d)", {"r": real(0.7)[0], "t": np.bool_(0)}
    ),
    "GridSample": Case(20, "y = GridSample(x, grid)", GRID, oldest=16),
    "GridSample cubic": Case(
        20, 'y = GridSample <mode="cubic", padding_mode="border"> (x, grid)', GRID, oldest=16
    ),
    "Reshape": Case(14, "y = Reshape <allowzero=1> (x, s)", {"s": whole(2, -1)}),
    "Shape part": Case(15, "s = Shape <start=1, end=-1> (x) r = Cast <to=1> (s) y = Neg(r)"),
    "Shape rest": Case(19, "s = Shape <start=2> (x) y = Cast <to=1> (s)"),
    "Clip": Case(13, "y = Clip(x, l, h)", {"l": np.float32(-0.3), "h": np.float32(0.4)}),
    "Clip whole": Case(
        13,
        "i = Cast <to=6> (x) c = Clip(i, l, h) y = Cast <to=1> (c)",
        {"l": np.int32(-1), "h": np.int32(1)},
    ),
    "Clip below": Case(
        12, "i = Cast <to=7> (x) c = Clip(i, , h) y = Cast <to=1> (c)", {"h": np.int64(0)}
    ),
    "Max whole": Case(
        13,
        "i = Cast <to=6> (x) c = Max(i, l, h) d = Min(i, c) e = Sub(c, d) y = Cast <to=1> (e)",
        {"l": np.int32(-1), "h": np.int32(0)},
    ),
    "Pow": Case(13, "y = Pow(x, e)", {"e": np.int64(2)}),
    "Pow computed": Case(12, "i = Cast <to=6> (x) a = Abs(x) y = Pow(a, i)"),
    "AveragePool": Case(
        22,
        "y = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1], dilations=[1,1], ceil_mode=1,"
        " strides=[2,2]> (x)",
    ),
    "AveragePool counting": Case(
        19,
        "y = AveragePool <kernel_shape=[2,2], pads=[0,0,1,1], count_include_pad=1> (x)",
    ),
    **{
        f"{kind} behind the last": Case(
            22,
            f"y = {kind} <kernel_shape=[3,1], ceil_mode=1, strides=[4,3], pads=[1,0,1,0]> (x)",
            inputs="float[1,4,6,7] x",
        )
        for kind in ("MaxPool", "AveragePool", "LpPool")
    },
    "LpPool": Case(18, "y = LpPool <kernel_shape=[2,2], ceil_mode=0, dilations=[1,1]> (x)"),
    "MaxPool": Case(22, "y = MaxPool <kernel_shape=[3,3], ceil_mode=1, strides=[2,2]> (x)"),
    "CastLike": Case(19, "c = Greater(x, x) y = CastLike(c, x)"),
    "Cast": Case(24, "c = Cast <to=6, saturate=1> (x) y = Cast <to=1> (c)"),
    "GreaterOrEqual": Case(
        16, "c = GreaterOrEqual(x, l) y = Where(c, x, l)", {"l": np.float32(0.2)}
    ),
    "LessOrEqual": Case(12, "c = LessOrEqual(x, l) y = Cast <to=1> (c)", {"l": np.float32(0.2)}),
    "QDQ": Case(
        21,
        "q = QuantizeLinear <output_dtype=2> (x, s, zero) y = DequantizeLinear(q, s, zero)",
        QUANTISED,
    ),
    "QDQ untold": Case(
        23,
        "q = QuantizeLinear <output_dtype=3, saturate=0> (x, s)"
        " y = DequantizeLinear <output_dtype=1, axis=0> (q, s)",
        {"s": np.float32(0.03)},
    ),
    "Constants": Case(13, "c = Constant <value_float=0.5> () y = Add(x, c)"),
    "If": Case(
        18,
        "m = ReduceMax <keepdims=0> (x) c = Less(m, l) y = If (c) <"
        "then_branch = t () => (float[A,B,C,D] a) { d = ReduceMean(x, axes) a = HardSwish(d) },"
        "else_branch = e () => (float[E,F,G,H] b) { d = Softmax <axis=1> (x) b = Mish(d) }>",
        AXES | {"l": np.float32(0)},
    ),
    "Types alone": Case(
        24,
        "c = Conv(x, w) r = Relu(c) t = Transpose <perm=[0,2,3,1]> (r) f = Flatten(t)"
        " e = Elu(f) s = Softplus(e) y = Identity(s)",
        {"w": normal(4, 4, 3, 3)},
    ),
}
