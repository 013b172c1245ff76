"""Rules for operators that move tensors without computing."""

from __future__ import annotations

from typing import Any

import numpy as np

from targets.tvm.layout.blocked import EMPTY, Blocked, Joined, arranged
from targets.tvm.layout.converter import Converter
from targets.tvm.relax_values import number, sizes


def concat(convert: Converter, call: Any) -> Joined | None:
    """`concat` of channels, all in blocks of one width: the blocks of one behind another's."""
    shape = sizes(call)
    if shape is None or len(shape) != 4 or int(call.attrs.axis) % 4 != 1:
        return None
    found = [convert.blocked(operand) for operand in convert.fields(call.args[0])]
    parts = tuple(part for part in found if part is not None)
    if len(parts) < len(found) or len({part.lanes for part in parts}) != 1:
        return None
    return Joined(parts)


def reshape(convert: Converter, call: Any) -> Blocked | None:
    """From maps of one pixel to a vector of channels, and back."""
    given, before, after = convert.blocked(call.args[0]), sizes(call.args[0]), sizes(call)
    if given is None or before is None or after is None:
        return None
    pixel, vector = (before, after) if len(before) == 4 else (after, before)
    if len(pixel) != 4 or len(vector) != 2 or pixel != (*vector, 1, 1):
        return None
    return Blocked(given.value, given.order, given.lanes, flat=len(after) == 2)


def resize(convert: Converter, call: Any) -> Blocked | None:
    """`resize2d` by nearest neighbour or linearly."""
    from tvm import topi

    given, attrs = convert.blocked(call.args[0]), call.attrs
    if given is None or attrs.layout != "NCHW" or attrs.method == "cubic":
        return None
    size = [int(extent) for extent in call.args[1].values]

    def resized(x: Any) -> Any:
        return topi.image.resize2d(
            x,
            roi=attrs.roi,
            size=size,
            layout=f"NCHW{given.lanes}c",
            method=attrs.method,
            coordinate_transformation_mode=attrs.coordinate_transformation_mode,
            rounding_method=attrs.rounding_method,
            extrapolation_value=attrs.extrapolation_value,
        )

    return given.like(convert.emit(convert.te(resized, given.value)))


def take(convert: Converter, call: Any) -> Blocked | None:
    """`take` of known channels: where each is taken once, they only change their numbers."""
    given, shape, indices = convert.blocked(call.args[0]), sizes(call), number(call.args[1])
    if given is None or shape is None or indices is None or indices.ndim != 1:
        return None
    axis = call.attrs.axis
    if len(shape) != 4 or axis is None or int(axis) % 4 != 1:
        return None
    taken = np.clip(indices, 0, given.channels - 1)
    if sorted(taken.tolist()) == list(range(given.channels)):  # else slots would keep old numbers
        numbers = {int(channel): i for i, channel in enumerate(taken)}
        return Blocked(given.value, tuple(numbers.get(c, EMPTY) for c in given.order), given.lanes)
    order, lanes = convert.layout(len(taken))
    slots = arranged(given.places()[taken], order, axis=0)
    return convert.gather(given, slots, order, lanes)
