"""Random small networks of a CNN's operators, the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper
from tvm_networks import network

Shape = tuple[int, ...]
CHANNELS = (1, 3, 4, 5, 8, 10, 16, 20, 24, 32, 40, 64)
SIZES = (5, 7, 8, 9, 13, 17)
MOST = 20
"""Rows above which nothing is upsampled."""


@dataclass
class Draft:
    """A network being made: each method adds an operator and returns its output's name."""

    seed: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def pick(self, *values: int) -> int:
        return int(self.random.choice(values))

    def weight(self, *shape: int) -> str:
        """Weights that keep the size of numbers: scaled by what is summed."""
        name = f"w{len(self.weights)}"
        scale = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
        self.weights[name] = (self.random.standard_normal(shape) * scale).astype(np.float32)
        return name

    def numbers(self, values: object, dtype: type = np.int64) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values, dtype)
        return name

    def node(self, kind: str, inputs: list[str], shape: Shape, **attributes: object) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self.shapes[name] = shape
        return name

    def like(self, channels: int, high: int, wide: int) -> list[str]:
        """Tensors of this shape that are there already."""
        return [n for n, s in self.shapes.items() if s[1:] == (channels, high, wide)]


def convolution(d: Draft, x: str) -> str:
    n, c, h, w = d.shapes[x]
    taps = [(1, 1), (3, 3), (3, 3), (3, 1), (1, 3), (5, 5), (2, 2)][d.pick(*range(7))]
    stride, dilation = d.pick(1, 1, 1, 2), d.pick(1, 1, 1, 2)
    groups = d.pick(*[g for g in range(1, c + 1) if c % g == 0])
    out = d.pick(*CHANNELS) if d.random.random() < 0.5 else c
    if d.random.random() < 0.6 or out % groups:
        groups = 1
    if d.random.random() < 0.25:
        groups, out = c, c * d.pick(1, 2, 3, 4)
    if out > 128:
        groups, out = 1, 32
    pads = [d.pick(0, t // 2, t // 2, t - 1) * dilation for t in (*taps, *taps)]
    made = [
        (s + pads[i] + pads[i + 2] - dilation * (t - 1) - 1) // stride + 1
        for i, (s, t) in enumerate(zip((h, w), taps, strict=True))
    ]
    if min(made) < 2:
        return pointwise(d, x)
    bias = [d.weight(out)] if d.random.random() < 0.7 else []
    options = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": pads, "group": groups}
    return d.node("Conv", [x, d.weight(out, c // groups, *taps), *bias], (n, out, *made), **options)


def pointwise(d: Draft, x: str) -> str:
    n, c, *pixels = d.shapes[x]
    out = d.pick(*CHANNELS)
    return d.node("Conv", [x, d.weight(out, c, 1, 1), d.weight(out)], (n, out, *pixels))


def separable(d: Draft, x: str) -> str:
    n, c, h, w = d.shapes[x]
    each = d.pick(1, 2, 4) if c <= 32 else 1
    options = {"group": c, "pads": [1] * 4}
    y = d.node("Conv", [x, d.weight(c * each, 1, 3, 3)], (n, c * each, h, w), **options)
    if d.random.random() < 0.5:
        y = activation(d, y)
    return pointwise(d, y)


def activation(d: Draft, x: str) -> str:
    shape = d.shapes[x]
    kind = d.pick(*range(8))
    if kind == 0:
        return d.node("LeakyRelu", [x], shape, alpha=0.1)
    if kind == 1:
        limits = [d.numbers(0, np.float32), d.numbers(0.8, np.float32)]
        return d.node("Clip", [x, *limits], shape)
    if kind == 2:
        return d.node("Mul", [x, d.node("Sigmoid", [x], shape)], shape)
    if kind == 3:
        return d.node("PRelu", [x, d.weight(shape[1], 1, 1)], shape)
    return d.node(["HardSwish", "Sigmoid", "Relu", "Relu"][kind - 4], [x], shape)


def added(d: Draft, x: str) -> str:
    """A residual: of another tensor of this shape, of a constant, or of a convolution of x."""
    _, c, h, w = shape = d.shapes[x]
    kind = ["Add", "Mul", "Sub", "Add"][d.pick(*range(4))]
    others = [name for name in d.like(c, h, w) if name != x]
    if others and d.random.random() < 0.7:
        pair = [x, others[d.pick(*range(len(others)))]]
        return d.node(kind, pair[:: d.pick(1, -1)], shape)
    if d.random.random() < 0.5:
        size = [(c, 1, 1), (1, c, h, w), (1, 1, w), (c, h, 1), (1,)][d.pick(*range(5))]
        return d.node(kind, [x, d.weight(*size)], shape)
    groups = c if d.random.random() < 0.5 else 1
    weight = d.weight(c, c // groups, 3, 3)
    y = d.node("Conv", [x, weight], shape, pads=[1] * 4, group=groups)
    return d.node(kind, [y, x], shape)


def multiplied_residual(d: Draft, x: str) -> str:
    """A depthwise multiplier's output, whose channels lie in an order of their own, and a dense
    one's."""
    n, c, h, w = d.shapes[x]
    each = d.pick(2, 3, 4)
    if c * each > 128:
        return added(d, x)
    shape = (n, c * each, h, w)
    a = d.node("Conv", [x, d.weight(c * each, 1, 3, 3)], shape, group=c, pads=[1] * 4)
    b = d.node("Conv", [x, d.weight(c * each, c, 1, 1)], shape)
    return d.node("Add", [a, b][:: d.pick(1, -1)], shape)


def concat(d: Draft, x: str) -> str:
    n, _, h, w = d.shapes[x]
    others = [name for name, s in d.shapes.items() if s[2:] == (h, w)]
    chosen = [x, *(others[d.pick(*range(len(others)))] for _ in range(d.pick(1, 2)))]
    total = sum(d.shapes[name][1] for name in chosen)
    if total > 128:
        return pointwise(d, x)
    return d.node("Concat", chosen[:: d.pick(1, -1)], (n, total, h, w), axis=1)


def gather(d: Draft, x: str) -> str:
    n, c, *pixels = d.shapes[x]
    kind = d.pick(0, 1, 2)
    taken = d.random.permutation(c)
    if kind == 1:
        taken = taken[: max(1, d.pick(c - 1, c // 2))]
    elif kind == 2:
        taken = d.random.integers(-c, c, c + 3)
    return d.node("Gather", [x, d.numbers(taken)], (n, len(taken), *pixels), axis=1)


def pool(d: Draft, x: str) -> str:
    n, c, h, w = d.shapes[x]
    taps, stride, pad, ceil = d.pick(2, 3), d.pick(1, 2), d.pick(0, 1), d.pick(0, 0, 1)
    kind = ["MaxPool", "MaxPool" if ceil else "AveragePool"][d.pick(0, 1)]
    if min(h, w) < 4:
        return activation(d, x)
    made = [-((taps - s - 2 * pad) // stride) + 1 if ceil else (s + 2 * pad - taps) // stride + 1
            for s in (h, w)]  # fmt: skip
    made = [m - 1 if (m - 1) * stride >= s + pad else m for m, s in zip(made, (h, w), strict=True)]
    options = {"kernel_shape": [taps] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    if kind == "AveragePool":
        options["count_include_pad"] = d.pick(0, 1)
    return d.node(kind, [x], (n, c, *made), ceil_mode=ceil, **options)


def squeeze_excite(d: Draft, x: str) -> str:
    n, c, *_ = shape = d.shapes[x]
    mean = d.node("GlobalAveragePool", [x], (n, c, 1, 1))
    few = max(1, c // 4)
    y = d.node("Conv", [mean, d.weight(few, c, 1, 1), d.weight(few)], (n, few, 1, 1))
    y = d.node("Relu", [y], (n, few, 1, 1))
    y = d.node("Conv", [y, d.weight(c, few, 1, 1), d.weight(c)], (n, c, 1, 1))
    y = d.node(["Sigmoid", "HardSigmoid"][d.pick(0, 1)], [y], (n, c, 1, 1))
    return d.node("Mul", [x, y], shape)


def transposed(d: Draft, x: str) -> str:
    n, c, h, w = d.shapes[x]
    if h > MOST or w > MOST:
        return pool(d, x)
    out, stride, taps = d.pick(*CHANNELS[:8]), d.pick(1, 2, 3), d.pick(2, 3, 4, 5)
    pad, more = d.pick(0, 1), d.pick(0, stride - 1)
    made = [(s - 1) * stride + taps - 2 * pad + more for s in (h, w)]
    weight = d.weight(c, out, taps, taps)
    options = {"strides": [stride] * 2, "pads": [pad] * 4, "output_padding": [more] * 2}
    return d.node("ConvTranspose", [x, weight, d.weight(out)], (n, out, *made), **options)


def resize(d: Draft, x: str) -> str:
    n, c, h, w = d.shapes[x]
    if h > MOST or w > MOST:
        return pool(d, x)
    mode = ["nearest", "linear"][d.pick(0, 1)]
    scales = d.numbers([1, 1, 2, 2], np.float32)
    return d.node("Resize", [x, "", scales], (n, c, 2 * h, 2 * w), mode=mode)


def normalised(d: Draft, x: str) -> str:
    c = d.shapes[x][1]
    return d.node("InstanceNormalization", [x, d.weight(c), d.weight(c)], d.shapes[x])


def split(d: Draft, x: str) -> str:
    n, c, *pixels = d.shapes[x]
    if c < 2:
        return pointwise(d, x)
    start, end = sorted(d.random.choice(c + 1, 2, replace=False).tolist())
    at = [d.numbers([value]) for value in (start, end, 1)]
    return d.node("Slice", [x, *at], (n, end - start, *pixels))


PIECES: dict[Callable[[Draft, str], str], float] = {
    convolution: 6, activation: 4, added: 3, concat: 2, separable: 2, multiplied_residual: 1,
    gather: 1, pool: 1, squeeze_excite: 1, transposed: 0.7, resize: 0.5, normalised: 0.5,
    split: 0.5,
}  # fmt: skip


def random_network(seed: int, length: int = 8) -> onnx.ModelProto:
    """About `length` operators, each on one of the last tensors; sometimes a Gemm at the end."""
    d = Draft(seed)
    shape = (d.pick(1, 1, 2), d.pick(1, 3, 8, 16), d.pick(*SIZES), d.pick(*SIZES))
    d.shapes["x"] = shape
    x = pointwise(d, "x") if d.random.random() < 0.3 else convolution(d, "x")
    odds = np.array(list(PIECES.values())) / sum(PIECES.values())
    for _ in range(length):
        recent = list(d.shapes)[-3:]
        at = x if d.random.random() < 0.8 else recent[d.pick(*range(len(recent)))]
        x = list(PIECES)[int(d.random.choice(len(odds), p=odds))](d, at)
    if d.random.random() < 0.4:
        n, c, h, w = d.shapes[x]
        if d.random.random() < 0.5:
            x, h, w = d.node("GlobalAveragePool", [x], (n, c, 1, 1)), 1, 1
        flat = d.node("Flatten", [x], (n, c * h * w))
        d.node("Gemm", [flat, d.weight(10, c * h * w), d.weight(10)], (n, 10), transB=1)
    return network(18, used(d.nodes), d.weights, shape)


def used(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Those that the last one needs."""
    needed, kept = set(nodes[-1].output), []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    return kept[::-1]
