"""Rules for what moves numbers about: Pad, Resize, Slice, TopK, Gather and their like."""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from targets.tensorrt.operators.rule import Rule, known, only, ranks
from targets.tensorrt.operators.site import Site
from targets.tensorrt.operators.windows import FOLD, WHOLE

MAX_K = 3840
"""The most values that TensorRT's TopK layer returns."""
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}


def _padded_axes(site: Site) -> list[int] | None:
    """The axes that a Pad makes larger or smaller; None where they are not known."""
    pads = site.attribute("pads") if not site.given(1) else site.constant(1)
    axes = site.constant(3)
    if pads is None or site.computed(3):
        return None
    numbers = [int(p) for p in pads]
    half = len(numbers) // 2
    names = range(half) if axes is None else [int(a) % (site.rank() or half) for a in axes]
    return [a for a, b, e in zip(names, numbers[:half], numbers[half:], strict=True) if b or e]


def _plain_pad(site: Site) -> str | None:
    if (mode := site.attribute("mode", "constant")) != "constant":
        return f"pads with a constant alone; this mode is {mode}"
    value = site.constant(2) if site.given(2) else site.attribute("value", 0.0)
    if value is None:
        return "pads with 0 alone; this value is computed"
    return "pads with 0 alone; this value is another" if _any(value) else None


def _last_two(site: Site) -> str | None:
    axes, rank = _padded_axes(site), site.rank()
    if axes is None or rank is None or all(axis >= rank - 2 for axis in axes):
        return None
    return f"pads the last two dimensions alone; this pads dimension {min(axes)}"


def _two(site: Site) -> str | None:
    axes = _padded_axes(site)
    if axes is None or len(axes) <= 2:
        return None
    return f"pads two dimensions at most; this pads {len(axes)}"


def _old_resize(site: Site) -> str | None:
    mode = site.attribute("mode", "nearest")
    how = site.attribute("coordinate_transformation_mode")
    if how is None and not site.given(2) and not site.given(3):
        how = "asymmetric"  # opset 10 had no other
    if (how or "half_pixel") != "asymmetric":
        return f"resizes asymmetric alone; this is {how or 'half_pixel'}"
    nearest = site.attribute("nearest_mode", "round_prefer_floor")
    # opset 10, with two inputs, has no such attribute and takes the floor
    if mode == "nearest" and nearest != "floor" and len(site.node.input) > 2:
        return f"takes the nearest by floor alone; this nearest_mode is {nearest}"
    return None


def _aspect(site: Site) -> str | None:
    if site.attribute("antialias", 0):
        return "resizes without antialiasing"
    policy = site.attribute("keep_aspect_ratio_policy", "stretch")
    return None if policy == "stretch" else f"knows no keep_aspect_ratio_policy={policy}"


def _scales(site: Site) -> str | None:
    places = (1,) if len(site.node.input) == 2 else (2, 3)
    if any(site.computed(place) for place in places):
        return "takes the scales of Resize as an initializer alone; here they are computed"
    return None


def _top_k(site: Site) -> str | None:
    k = site.constant(1) if site.given(1) else site.attribute("k")
    if k is not None and (number := int(_first(k))) > MAX_K:
        return f"returns {MAX_K} values in TopK at most; this asks for {number}"
    return None


def _sorted(site: Site) -> str | None:
    return None if site.attribute("sorted", 1) else "returns the values of TopK sorted alone"


def _whole_input(site: Site) -> str | None:
    return f"takes no integers in {site.kind}" if site.dtype() in WHOLE else None


def _negative(site: Site) -> str | None:
    indices = site.constant(1)
    if indices is not None and indices.size and indices.min() < 0:
        return f"takes no negative indices in {site.kind}"
    return None


def _open_sizes(site: Site) -> str | None:
    shape = site.shape()
    if shape is not None and None in shape:
        return f"takes fixed sizes alone in {site.kind}"
    return None


def _float_range(site: Site) -> str | None:
    computed = any(site.computed(place) for place in range(3))
    if site.dtype() in FLOATS and computed:
        return "takes fractions in Range as initializers alone"
    return None


def _reduces(site: Site) -> str | None:
    how = site.attribute("reduction", "none")
    return None if how == "none" else f"knows no reduction={how} of {site.kind}"


def _einsum(site: Site) -> str | None:
    equation = site.attribute("equation", "").replace(" ", "")
    if "..." in equation:
        return "knows no ellipsis in Einsum"
    terms = equation.partition("->")[0].split(",")
    if any(len(set(term)) != len(term) for term in terms):
        return "takes no diagonals in Einsum"
    sizes: dict[str, int] = {}
    for place, term in enumerate(terms):
        for letter, size in zip(term, site.shape(place) or (), strict=False):
            if size is not None and sizes.setdefault(letter, size) != size:
                return "does not broadcast in Einsum"
    return None


def _any(value: Any) -> bool:
    return bool(value.any()) if hasattr(value, "any") else bool(value)


def _first(value: Any) -> Any:
    return value.flat[0] if hasattr(value, "flat") else value


RULES = (
    Rule("Pad", _plain_pad, "TensorRT 8.2 (JetPack 4.6.1) has all modes and values", until=(8, 2)),
    Rule("Pad", known("pads", 1), FOLD, until=(8, 2)),
    Rule("Pad", _last_two, "transpose around it, or Concat with zeros", until=(8, 0)),
    Rule("Pad", _two, "make two of it", since=(8, 0), until=(8, 2)),
    Rule(
        "Pad",
        only("mode", "constant", "constant edge reflect"),
        "TensorRT 10.0 wraps; Concat with Slices does the same",
        until=(10, 0),
    ),
    Rule("Pad", known("axes", 3), FOLD, until=(10, 4)),
    Rule(
        "Resize",
        _old_resize,
        "TensorRT 8.0 (JetPack 4.6) has the other modes; or export it so "
        "(align_corners=False, mode='nearest')",
        until=(8, 0),
    ),
    Rule("Resize", _scales, f"fix the sizes (--shape); {FOLD}", until=(8, 2)),
    Rule(
        "Resize",
        only("mode", "nearest", "nearest linear"),
        "resize it with mode=linear, or before the network",
        until=(8, 6),
    ),
    Rule(
        "Resize",
        only("mode", "nearest", "nearest linear"),
        "its documents name nearest and linear alone, though newer parsers take it",
        since=(8, 6),
        fatal=False,
    ),
    Rule(
        "Resize",
        only(
            "coordinate_transformation_mode",
            "half_pixel",
            "half_pixel pytorch_half_pixel tf_half_pixel_for_nn asymmetric align_corners",
        ),
        "export it with half_pixel",
    ),
    Rule("Resize", _aspect, "give scales or sizes that say it"),
    Rule("Clip", known("min and max", 1, 2), FOLD, until=(8, 2)),
    Rule("CumSum", known("the axis", 1), FOLD),
    Rule("Squeeze Unsqueeze", known("the axes", 1), FOLD),
    Rule("Slice", known("the axes", 3), FOLD, until=(10, 3)),
    Rule("Split", known("the sizes", 1), FOLD, until=(8, 2)),
    Rule("TopK", known("K", 1), FOLD, until=(8, 6)),
    Rule("TopK", _top_k, "filter the candidates before it, as with a threshold"),
    Rule("TopK", _sorted, "sorted values serve as well: export it with sorted=1", since=(10, 0)),
    Rule(
        "TopK ArgMax ArgMin",
        _whole_input,
        "cast its input to float; TensorRT 8.6 takes integers",
        until=(8, 6),
    ),
    Rule(
        "GatherElements",
        _negative,
        "add the size to the negative ones; TensorRT 8.2 takes them",
        until=(8, 2),
    ),
    Rule("ReverseSequence", _open_sizes, "fix the sizes with --shape", until=(8, 6)),
    Rule("EyeLike", _open_sizes, "fix the sizes with --shape"),
    Rule("Range", _float_range, "count in integers, or fix the sizes with --shape", until=(8, 4)),
    Rule("ScatterND", _reduces, "gather, reduce and scatter in three steps"),
    Rule("ScatterElements", _reduces, "TensorRT 10.0 and newer have it", until=(10, 0)),
    Rule("Einsum", _einsum, "write it with Transpose and MatMul", until=(8, 6)),
    Rule("GridSample", ranks(4, 4, "4 dimensions"), "sample slice by slice"),
    Rule(
        "NonMaxSuppression",
        known("its limits", 2, 3, 4),
        "give max_output_boxes_per_class and the thresholds as constants",
        until=(8, 5),
    ),
)
