"""The rule for transposed convolutions: an ordinary one for each phase of the stride.

Output Q of stride s reads weight taps Q % s, Q % s + s, ...: outputs of one phase are a convolution
of stride 1 with those taps. All phases are output channels of a single convolution; its outputs
are then put side by side. Nothing is multiplied by the zeros that the definition inserts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from targets.tvm.compute.transforms import interleaved
from targets.tvm.compute.window import Window
from targets.tvm.layout.blocked import Blocked, arranged
from targets.tvm.layout.converter import Converter
from targets.tvm.layout.convolutions import Weights, dense_convolution
from targets.tvm.relax_values import number, sizes


def transposed(convert: Converter, call: Any) -> Blocked | None:
    """`conv2d_transpose` of float32 without groups or dilation, with weights that are known."""
    data, weight = call.args
    attrs = call.attrs
    shape, made, values = sizes(data), sizes(call), number(weight)
    if shape is None or made is None or values is None or values.dtype != np.float32:
        return None
    if (attrs.data_layout, attrs.kernel_layout, int(attrs.groups)) != ("NCHW", "IOHW", 1):
        return None
    given = Window.of(attrs, values.shape[2:])
    if given.dilations != (1, 1):
        return None
    strides, pads = given.strides, given.pads
    order, lanes = convert.layout(made[1])
    phases = _phases(values, strides)
    slots = arranged(phases, order, axis=1)  # (phases, slots, I, taps, taps)
    taps = slots.shape[3:]
    reach = [(made[2 + axis] + pads[axis] - 1) // strides[axis] + 1 for axis in (0, 1)]
    after = [reach[axis] - shape[2 + axis] for axis in (0, 1)]
    window = Window(
        (taps[0], taps[1]), (1, 1), (1, 1), (taps[0] - 1, taps[1] - 1, after[0], after[1])
    )
    if min(window.pads) < 0:
        return None
    stacked = slots.reshape(-1, *slots.shape[2:])
    found = dense_convolution(convert, data, stacked, window, 1, shape)
    whole = tuple(range(len(stacked)))
    if (found.order, found.lanes) != (whole, lanes):
        found = convert.reorder(found, whole, lanes)
    options = {"strides": strides, "starts": pads[:2], "outputs": made[2:]}
    return Blocked(convert.emit(convert.te(interleaved, found.value, **options)), order, lanes)


def _phases(values: Weights, strides: tuple[int, int]) -> Weights:
    """Return (I, O, KH, KW) as (phases, O, I, taps, taps): what each phase correlates with."""
    high, wide = (-(-values.shape[2 + axis] // strides[axis]) for axis in (0, 1))
    whole = np.zeros((*values.shape[:2], high * strides[0], wide * strides[1]), values.dtype)
    whole[:, :, : values.shape[2], : values.shape[3]] = values
    inputs, outputs = values.shape[:2]
    split = whole.reshape(inputs, outputs, high, strides[0], wide, strides[1])[:, :, ::-1, :, ::-1]
    phases = split.transpose(3, 5, 1, 0, 2, 4)
    return phases.reshape(-1, outputs, inputs, high, wide)
