"""What a DLA of Xavier (generation 1) or Orin (2) takes of each operator, under TensorRT 8.5.

From "DLA Supported Layers and Restrictions" of NVIDIA's developer guide, the notes on DLA in
NvInfer.h and operators/README.md of NVIDIA's Deep-Learning-Accelerator-SW. Each test returns what
the DLA does not do, said of it, and a hint; or None.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from targets.tensorrt.operators.dla_windows import (
    MAX_SIZE,
    REPLACED,
    Reason,
    Test,
    convolution,
    deconvolution,
    global_pool,
    pool,
)
from targets.tensorrt.operators.site import Shape, Site

NOT_FOUR = "the DLA computes on (N, C, H, W)"


def _clip(site: Site, generation: int) -> Reason | None:
    low = site.constant(1) if site.given(1) else site.attribute("min")
    high = site.constant(2) if site.given(2) else site.attribute("max")
    if low is None or high is None or site.computed(1) or site.computed(2):
        return "clips between 0 and a fixed number alone", None
    least, most = float(np.asarray(low).flat[0]), float(np.asarray(high).flat[0])
    if least != 0 or not 1 <= most <= 127:
        return f"clips between 0 and 1 to 127 alone; this is {least:g} to {most:g}", None
    return None


def _slope(site: Site, generation: int) -> Reason | None:
    if site.computed(1) or site.rank(1) != site.rank(0):
        return "takes a fixed slope of the rank of the input alone in PRelu", None
    return None


def _elementwise(site: Site, generation: int) -> Reason | None:
    shapes = [site.shape(place) for place in range(len(site.node.input))]
    variable = [s for i, s in enumerate(shapes) if site.computed(i)]
    if len(variable) < 2:
        return None  # a scale and a shift
    if any(_spread(shape, _largest(variable)) for shape in variable):
        return "spreads (N, C, 1, 1) and (N, 1, 1, 1) alone over the other operand", None
    return None


def _largest(shapes: Sequence[Shape | None]) -> Shape:
    return max((s for s in shapes if s), key=lambda s: np.prod([d or 1 for d in s]), default=())


def _spread(shape: Shape | None, full: Shape) -> bool:
    """Whether an operand is spread over `full` in a way that the DLA has not."""
    if shape is None or shape == full:
        return False
    return shape not in ((*full[:2], 1, 1), (*full[:1], 1, 1, 1))


def _concat(site: Site, generation: int) -> Reason | None:
    rank = site.rank() or 4
    axis = int(site.attribute("axis", 1)) % rank
    if axis != rank - 3:
        return f"concatenates channels alone; this is along dimension {axis}", None
    if len(site.node.input) < 2:
        return "concatenates two inputs and more alone", None
    return None


def _resize(site: Site, generation: int) -> Reason | None:
    place = 1 if site.kind == "Upsample" or len(site.node.input) == 2 else 2
    scales = site.constant(place)
    mode = str(site.attribute("mode", "nearest"))
    if scales is None or len(scales) != 4:
        return "resizes by four fixed scales alone", "export it with scales and not with sizes"
    how = str(site.attribute("coordinate_transformation_mode", "half_pixel"))
    if mode not in ("nearest", "linear"):
        return f"resizes nearest and linear alone; this is {mode}", None
    if mode == "linear" and how != "half_pixel":
        return f"resizes linear with half_pixel alone; this is {how}", None
    most = 32 if mode == "nearest" else 4
    sizes = [float(s) for s in scales]
    whole = sizes[:2] == [1, 1] and all(s == round(s) and 1 <= s <= most for s in sizes[2:])
    if not whole:
        text = "x".join(f"{s:g}" for s in sizes)
        return (
            f"resizes {mode} by whole numbers up to {most} in H and W alone; this is {text}",
            None,
        )
    return None


def _softmax(site: Site, generation: int) -> Reason | None:
    if generation == 1:
        return "has no Softmax on Xavier", "take it off the end of the network"
    shape = site.shape() or ()
    axis = int(site.attribute("axis", -1)) % max(len(shape), 1)
    if axis == 0:
        return "has Softmax along channels, H and W alone; this is along the batch", None
    others = [d for i, d in enumerate(shape) if i not in (0, axis)]
    most = 8192 if all(d == 1 for d in others) else 1024
    if shape and (shape[axis] or 0) > most:
        return f"has Softmax over {most} numbers at most; this has {shape[axis]}", None
    return None


def _local_response(site: Site, generation: int) -> Reason | None:
    size = int(site.attribute("size", 0))
    if size not in (3, 5, 7, 9):
        return f"has windows of 3, 5, 7 and 9 alone in LRN; this is {size}", None
    return None


def _slice(site: Site, generation: int) -> Reason | None:
    if any(site.computed(place) for place in range(1, len(site.node.input))):
        return f"takes fixed places alone in {site.kind}", None
    before, after = site.shape(), site.output_shape()
    if before and after and before[0] != after[0]:
        return "does not take the batch apart", None
    return None


def _shuffle(site: Site, generation: int) -> Reason | None:
    before, after = site.shape(), site.output_shape()
    if site.kind == "Transpose" and site.attribute("perm", [0])[0] != 0:
        return "does not move the batch", None
    same = before is not None and after is not None and before[:1] == after[:1]
    if not same or len(before or ()) != 4 or len(after or ()) != 4:
        return f"has {site.kind} from four dimensions to four with the same batch alone", None
    if site.kind == "Reshape" and site.made_by(0) in ("Slice", "Split", "Concat"):
        return f"takes no Reshape right behind {site.made_by(0)}", None
    return None


def _fixed_second(site: Site, generation: int) -> Reason | None:
    if site.computed(1):
        return f"takes a fixed second operand alone in {site.kind}", None
    if site.rank() not in (None, 2, 4):
        return f"takes {site.kind} as a layer on (N, C) alone", None
    return None


def _flatten(site: Site, generation: int) -> Reason | None:
    return f"has no {site.kind}", REPLACED.format("gemm_to_conv")


def _quantised(site: Site, generation: int) -> Reason | None:
    return (
        f"takes no {site.kind}: INT8 comes from a calibration cache there",
        "build with --precision int8 for the DLA, which writes the cache in its place",
    )


def _native(site: Site, generation: int) -> Reason | None:
    return None


TESTS: dict[str, Test] = {
    "Conv": convolution,
    "ConvTranspose": deconvolution,
    **dict.fromkeys(("MaxPool", "AveragePool"), pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), global_pool),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "BatchNormalization"), _native),
    "Abs": _native,
    "Clip": _clip,
    "PRelu": _slope,
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min", "Sum"), _elementwise),
    "Concat": _concat,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Softmax": _softmax,
    "LRN": _local_response,
    **dict.fromkeys(("Slice", "Split"), _slice),
    **dict.fromkeys(("Reshape", "Transpose"), _shuffle),
    **dict.fromkeys(("Gemm", "MatMul"), _fixed_second),
    **dict.fromkeys(("Flatten", "Squeeze"), _flatten),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantised),
}
"""Operators that a DLA has under conditions."""
HINTS = {
    "Pad": "build with fold_pad, where a convolution reads it, or moves_to_conv for channels",
    "DepthToSpace": REPLACED.format("moves_to_conv"),
    "SpaceToDepth": REPLACED.format("moves_to_conv"),
    "HardSwish": REPLACED.format("hard_activations"),
    "HardSigmoid": REPLACED.format("hard_activations"),
    "Div": "multiply by the reciprocal, where the divisor is fixed",
    "Gather": REPLACED.format("moves_to_conv"),
    "ReduceMean": REPLACED.format("global_pool_to_pool"),
    "InstanceNormalization": "train with BatchNorm in its place: it becomes a scale",
    "GroupNormalization": "train with BatchNorm in its place: it becomes a scale",
}
FREE = {"Constant", "ConstantOfShape", "Identity", "Dropout", "Shape", "Size"}
"""What is no layer in the engine, or known before it runs."""


def reason(site: Site, generation: int) -> Reason | None:
    """Return why the DLA cannot run a node, and the next step; None where it can."""
    test = TESTS.get(site.kind)
    if test is None:
        return f"has no {site.kind}", HINTS.get(site.kind)
    rank = site.rank()
    flat = site.kind in ("Gemm", "MatMul", "Flatten", "Squeeze", "Reshape")
    if rank is not None and rank != 4 and not flat:
        return f"computes on four dimensions alone; this input has {rank}", NOT_FOUR
    if (large := _large(site)) is not None:
        return large
    return test(site, generation)


def _large(site: Site) -> Reason | None:
    for shape in (site.shape(), site.output_shape()):
        if shape and any((size or 0) > MAX_SIZE for size in shape[1:]):
            text = "x".join(str(size) for size in shape)
            return f"takes sizes up to {MAX_SIZE} alone; this has {text}", None
    return None
