"""Resize and Upsample as weighted gathers: what onnxruntime computes, in operators TVM gets right.

A resize is linear and works on each axis by itself, so every output row is a weighted sum of a few
input rows ("taps"): one for nearest, two for linear, four for cubic, more with antialias. TVM's
own converter maps coordinates with the ratio of the two sizes where ONNX uses the scale (wrong
for a size of 13 times 0.5), and reads neither `axes`, `antialias` nor the forms before opset 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto

from targets.tvm.facts import Facts, NodeChain, attributes_of

Floats = npt.NDArray[Any]  # of float32, as onnxruntime computes coordinates
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interpolation:
    """How ONNX's Resize maps and weighs coordinates; the names are its attributes."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False

    def taps(self, size: int, resized: int, scale: float) -> tuple[Indices, Floats]:
        """Return which inputs make up each output along one axis: indices and weights.

        Both are (taps, resized); `out[o] = sum over t of weights[t, o] * in[indices[t, o]]`.
        """
        centre = self._source(size, resized, np.float32(scale))
        if self.mode == "nearest":
            index = np.clip(self._round(centre, scale), 0, size - 1).astype(np.int64)
            return index[None], np.ones((1, resized), np.float32)
        reach = 1.0 if self.mode == "linear" else 2.0
        shrink = min(1.0, scale) if self.antialias else 1.0
        if self.mode == "linear" and shrink == 1:
            centre = np.clip(centre, 0, size - 1).astype(np.float32)
        steps = np.arange(1 - np.ceil(reach / shrink), np.ceil(reach / shrink) + 1)
        index = np.floor(centre)[None] + steps[:, None]  # (taps, resized)
        weight = self._kernel((centre[None] - index) * shrink)
        if self.exclude_outside:
            weight = np.where((index < 0) | (index >= size), 0, weight)
        if self.exclude_outside or self.antialias:
            weight = weight / weight.sum(axis=0)
        return np.clip(index, 0, size - 1).astype(np.int64), weight.astype(np.float32)

    def _source(self, size: int, resized: int, scale: np.float32) -> Floats:
        """Return where each output lies on the input's axis, in float32 as onnxruntime does."""
        out = np.arange(resized, dtype=np.float32)
        half = np.float32(0.5)
        if self.coordinates == "asymmetric":
            return out / scale
        if self.coordinates == "align_corners":
            return out * np.float32(size - 1) / np.float32(max(resized - 1, 1))
        if self.coordinates == "pytorch_half_pixel" and resized == 1:
            return np.zeros(1, np.float32)
        if self.coordinates == "half_pixel_symmetric":
            adjusted = np.float32(resized) / (scale * np.float32(size))
            offset = np.float32(size) / 2 * (1 - adjusted)
            return (offset + (out + half) / scale - half).astype(np.float32)
        return (out + half) / scale - half

    def _round(self, centre: Floats, scale: float) -> Floats:
        if self.nearest == "before_11":  # onnxruntime's reading of what ONNX left open
            return np.ceil(centre) if scale < 1 else np.floor(centre)
        if self.nearest == "floor":
            return np.floor(centre)
        if self.nearest == "ceil":
            return np.ceil(centre)
        if self.nearest == "round_prefer_ceil":
            return np.floor(centre + np.float32(0.5))
        return np.ceil(centre - np.float32(0.5))

    def _kernel(self, distance: Floats) -> Floats:
        x = np.abs(distance)
        result: Floats
        if self.mode == "linear":
            result = np.maximum(0, 1 - x)
            return result
        a = self.cubic_a
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        result = np.where(x <= 1, near, np.where(x < 2, far, 0))
        return result


def resize(node: NodeProto, facts: Facts) -> list[NodeProto] | None:
    """Return gathers and sums in place of a Resize or Upsample (see the module)."""
    given = attributes_of(node)
    if given.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    how = _interpolation(node, given, facts)
    sizes, resized = facts.shape(node, node.input[0]), facts.shape(node, node.output[0])
    scales = _scales(node, given, facts)
    chain = NodeChain(node)
    value = node.input[0]
    for axis in sorted(range(len(sizes)), key=lambda axis: resized[axis] / sizes[axis]):
        if sizes[axis] == resized[axis] and scales[axis] == 1:
            continue
        indices, weights = how.taps(sizes[axis], resized[axis], scales[axis])
        value = _along(chain, value, axis, len(sizes) - 1 - axis, indices, weights)
    if value == node.input[0]:
        chain.add("Identity", [value])
    return chain.done()


def _along(
    chain: NodeChain, x: str, axis: int, after: int, indices: Indices, weights: Floats
) -> str:
    """Resize `x` along `axis`, which has `after` axes behind it."""
    terms = []
    for index, weight in zip(indices, weights, strict=True):
        if not weight.any():
            continue
        term = chain.add("Gather", [x, chain.constant(index)], axis=axis)
        if (weight != 1).any():
            term = chain.add("Mul", [term, chain.constant(weight.reshape([-1] + [1] * after))])
        terms.append(term)
    total = terms[0]
    for term in terms[1:]:
        total = chain.add("Add", [total, term])
    return total


def _interpolation(node: NodeProto, given: dict[str, Any], facts: Facts) -> Interpolation:
    mode = given.get("mode", "nearest")
    if node.op_type == "Upsample" or facts.opset < 11:
        return Interpolation(mode, "asymmetric", "before_11")
    return Interpolation(
        mode,
        given.get("coordinate_transformation_mode", "half_pixel"),
        given.get("nearest_mode", "round_prefer_floor"),
        given.get("cubic_coeff_a", -0.75),
        bool(given.get("exclude_outside", 0)),
        bool(given.get("antialias", 0)),
    )


def _scales(node: NodeProto, given: dict[str, Any], facts: Facts) -> list[float]:
    """Return the scale of every axis, in whichever of ONNX's six forms it is written."""
    sizes = facts.shape(node, node.input[0])
    scales: Any = given.get("scales")
    wanted = None
    if scales is None:
        before_11 = node.op_type == "Upsample" or facts.opset < 11
        scales = facts.constant(node, 1 if before_11 else 2)
        wanted = None if before_11 else facts.constant(node, 3)
    axes = [axis % len(sizes) for axis in given.get("axes", range(len(sizes)))]
    if wanted is not None and wanted.size:
        scales = [float(size) / sizes[axis] for size, axis in zip(wanted, axes, strict=True)]
        policy = given.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            scales = [min(scales) if policy == "not_larger" else max(scales)] * len(axes)
    result = [1.0] * len(sizes)
    for axis, scale in zip(axes, scales, strict=True):
        result[axis] = float(scale)
    return result
