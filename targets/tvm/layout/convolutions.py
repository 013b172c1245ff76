"""Rules for convolutions: which form, in which layout, with weights packed here."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from targets.tvm.compute.convolution import dense, on_lanes
from targets.tvm.compute.window import Window
from targets.tvm.compute.winograd import Form, transformed_weights, winograd
from targets.tvm.layout.blocked import Blocked, arranged, in_order, lanes_for
from targets.tvm.layout.convert import Converter, number, sizes
from targets.tvm.schedules.minimal import winograd_form


def convolution(convert: Converter, call: Any) -> Blocked | None:
    """`relax.nn.conv2d` of float32 with weights that are known."""
    data, weight = call.args
    shape, values = sizes(data), number(weight)
    attrs = call.attrs
    if shape is None or values is None or str(values.dtype) != "float32":
        return None
    if (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "OIHW"):
        return None
    window, groups = _window(call, values), int(attrs.groups)
    if groups == 1:
        return _dense(convert, data, values, window)
    return _grouped(convert, data, values, window, groups)


def product(convert: Converter, call: Any) -> Blocked | None:
    """`matmul` of (M, K) by known (K, N): a convolution of maps of one pixel."""
    from tvm import relax

    data, weight = call.args
    shape, values = sizes(data), number(weight)
    if shape is None or values is None or (len(shape), values.ndim) != (2, 2):
        return None
    if str(values.dtype) != "float32":
        return None
    taps = values.T[:, :, None, None]
    window = Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
    order, lanes = convert.layout(len(taps))
    given = convert.blocked(data)
    if given is None:
        source = convert.emit(relax.op.reshape(convert.plain(data), (*shape, 1, 1)))
        weights = _packed(taps, order, lanes, tuple(range(shape[1])), 1)
    else:
        source, weights = given.value, _packed(taps, order, lanes, given.order, given.lanes)
    options = {"window": window, "groups": 1, "core": convert.core}
    made = convert.te(dense, source, convert.constant(weights), **options)
    return Blocked(convert.emit(made), order, lanes, flat=True)


def _window(call: Any, values: npt.NDArray[Any]) -> Window:
    strides, dilations, pads = (
        tuple(int(size) for size in found)
        for found in (call.attrs.strides, call.attrs.dilation, call.attrs.padding)
    )
    return Window(values.shape[2:], strides, dilations, pads)  # type: ignore[arg-type]


def _dense(convert: Converter, data: Any, values: npt.NDArray[Any], window: Window) -> Blocked:
    order, lanes = convert.layout(len(values))
    given = convert.blocked(data)
    held = tuple(range(values.shape[1])) if given is None else given.order
    within = 1 if given is None else given.lanes
    weights = _packed(values, order, lanes, held, within)
    if given is not None and (form := _minimal(convert, data, weights, window)) is not None:
        points = convert.constant(transformed_weights(weights, form.outputs))
        made = convert.te(winograd, given.value, points, window=window, form=form)
        return Blocked(convert.emit(made), order, lanes)
    source = convert.plain(data) if given is None else given.value
    options = {"window": window, "groups": 1, "core": convert.core}
    made = convert.te(dense, source, convert.constant(weights), **options)
    return Blocked(convert.emit(made), order, lanes)


def _minimal(
    convert: Converter, data: Any, weights: npt.NDArray[Any], window: Window
) -> Form | None:
    shape = sizes(data)
    if shape is None or not convert.winograd:
        return None
    outputs = window.outputs(*shape[2:])
    blocks, into, _, _, within, _ = weights.shape
    return winograd_form(convert.core, window, into * within, blocks, outputs)


def _packed(
    values: npt.NDArray[Any], order: tuple[int, ...], lanes: int, held: tuple[int, ...], within: int
) -> npt.NDArray[Any]:
    """Return (O, I, KH, KW) as (out blocks, in blocks, KH, KW, in lanes, out lanes)."""
    slots = arranged(arranged(values, order, axis=0), held, axis=1)
    _, _, high, wide = values.shape
    blocks = slots.reshape(len(order) // lanes, lanes, len(held) // within, within, high, wide)
    return blocks.transpose(0, 2, 4, 5, 3, 1)


def _grouped(
    convert: Converter, data: Any, values: npt.NDArray[Any], window: Window, groups: int
) -> Blocked | None:
    outputs, inputs, high, wide = values.shape
    each = outputs // groups
    given = convert.blocked(data)
    if inputs == 1:
        lanes = lanes_for(groups, convert.core.lanes)
        order = in_order(groups, lanes)
        blocks = len(order) // lanes
        source = convert.pack(data, order, lanes)
        weights = arranged(values.reshape(groups, each, inputs, high, wide), order, axis=0)
        weights = weights.reshape(blocks, lanes, each, inputs, high, wide)
        weights = weights.transpose(2, 3, 0, 4, 5, 1)
        made = convert.te(
            on_lanes, source.value, convert.constant(weights), window=window, core=convert.core
        )
        channels = tuple(
            -1 if group < 0 else group * each + j for j in range(each) for group in order
        )
        return Blocked(convert.emit(made), channels, lanes)
    return None
