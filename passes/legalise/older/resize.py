"""Resize: what opsets 19, 18 and 13 added to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal, constant, ints
from passes.legalise.older.emitter import Emitter, numbers, reads, sizes_of

_MODE = "coordinate_transformation_mode"
_POLICY = "keep_aspect_ratio_policy"


def without_symmetric(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """half_pixel_symmetric is half_pixel where the wanted size is a whole number of pixels."""
    if node.attributes.get_string(_MODE, "half_pixel") != "half_pixel_symmetric":
        return None
    scales, sizes = _scales(node), sizes_of(build.x)
    if not reads(node, 3) or node.attributes.get_string(_POLICY, "stretch") != "stretch":
        if scales is None or sizes is None:
            return Refusal("half_pixel_symmetric of sizes that are not known")
        for scale, axis in zip(scales, _axes(node, len(sizes)), strict=True):
            size = sizes[axis]
            if scale != 1 and (size is None or not float(scale * size).is_integer()):
                return Refusal("half_pixel_symmetric of a size that is no whole number of pixels")
    node.attributes.add(ir.AttrString(_MODE, "half_pixel"))
    return "half_pixel_symmetric is half_pixel here"


def as_before_18(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """Without antialias, axes and a policy for the aspect ratio."""
    sizes = sizes_of(build.x)
    if node.attributes.get_int("antialias", 0) and not _only_grows(node, sizes):
        return Refusal("it shrinks with antialias")
    policy = node.attributes.get_string(_POLICY, "stretch")
    if "axes" not in node.attributes and policy == "stretch":
        node.attributes.pop("antialias", None)
        return None
    if node.attributes.get_string(_MODE, "half_pixel") == "tf_crop_and_resize":
        return Refusal("it crops by axes")
    if sizes is None:
        return Refusal("the rank of its input is not known")
    refusal = _by_sizes(node, build, sizes) if reads(node, 3) else _by_scales(node, build, sizes)
    if refusal is not None:
        return refusal
    for name in ("antialias", "axes", _POLICY):
        node.attributes.pop(name, None)
    return "it names every axis"


def as_before_13(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """Empty inputs where one may be left out since."""
    nothing = np.zeros(0, np.float32)
    added = [name for index, name in ((1, "roi"), (2, "scales")) if not reads(node, index)]
    for index in (1, 2):
        if not reads(node, index):
            build.set_input(index, nothing)
    return f"empty {' and '.join(added)}" if added else None


def _by_scales(node: ir.Node, build: Emitter, sizes: Sequence[int | None]) -> Refusal | None:
    scales = _scales(node)
    if scales is None:
        return Refusal("its scales are computed at run time")
    whole = np.ones(len(sizes), np.float32)
    whole[_axes(node, len(sizes))] = scales
    _set(build, whole)
    return None


def _by_sizes(node: ir.Node, build: Emitter, sizes: Sequence[int | None]) -> Refusal | None:
    wanted, axes = numbers(node, 3), _axes(node, len(sizes))
    if wanted is None or any(size is None for size in sizes):
        return Refusal("its sizes are computed at run time, or those of its input are open")
    known = [size for size in sizes if size is not None]
    policy = node.attributes.get_string(_POLICY, "stretch")
    if policy == "stretch":
        named = dict(zip(axes, wanted, strict=True))
        build.set_input(3, np.array([named.get(i, s) for i, s in enumerate(known)], np.int64))
        return None
    ratios = [new / known[axis] for new, axis in zip(wanted, axes, strict=True)]
    scale = np.float32(min(ratios) if policy == "not_larger" else max(ratios))
    whole = np.ones(len(sizes), np.float32)
    whole[axes] = scale
    by_scale = [math.floor(np.float32(known[axis]) * scale) for axis in axes]
    rounded = [math.floor(known[axis] * float(scale) + 0.5) for axis in axes]
    if by_scale != rounded:
        return Refusal(f"{policy} rounds its sizes up")
    _set(build, whole)
    return None


def _set(build: Emitter, scales: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
    build.set_input(2, scales)
    build.keep_inputs(3)


def _only_grows(node: ir.Node, sizes: Sequence[int | None] | None) -> bool:
    """Whether no axis shrinks, such that antialias has nothing to do."""
    scales = _scales(node)
    if scales is not None:
        return bool((scales >= 1).all())
    wanted = numbers(node, 3)
    if wanted is None or sizes is None:
        return False
    return all(
        (size := sizes[axis]) is not None and new >= size
        for new, axis in zip(wanted, _axes(node, len(sizes)), strict=True)
    )


def _scales(node: ir.Node) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
    """The scales, where they are given and constant."""
    found = constant(node.inputs[2]) if reads(node, 2) else None
    return None if found is None or not found.size else found


def _axes(node: ir.Node, rank: int) -> list[int]:
    return [axis % rank for axis in ints(node, "axes", list(range(rank)))]
