"""Rules for convolutions and products: which form, in which layout, with weights packed here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from targets.tvm.compute.convolution import dense, on_lanes
from targets.tvm.compute.window import Window
from targets.tvm.compute.winograd import Form, transformed_weights, winograd
from targets.tvm.layout.blocked import EMPTY, Blocked, arranged
from targets.tvm.layout.converter import Converter
from targets.tvm.relax_values import number, sizes
from targets.tvm.schedules.minimal import SHAPES, winograd_form

Weights = npt.NDArray[np.float32]
WINOGRAD_GAIN = 2.5
"""What groups that are put together win back by Winograd."""


def convolution(convert: Converter, call: Any) -> Blocked | None:
    """`conv2d` of float32 with weights that are known."""
    data, weight = call.args
    attrs = call.attrs
    shape, values = sizes(data), number(weight)
    if shape is None or values is None or values.dtype != np.float32:
        return None
    if (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "OIHW"):
        return None
    window, groups = Window.of(attrs, values.shape[2:]), int(attrs.groups)
    if groups > 1 and _on_lanes(convert, values, groups, window):
        return _grouped(convert, data, values, window, groups)
    parts = convert.parts(data)
    if parts is not None and values.shape[2:] == (1, 1) and groups == 1:
        return _over_parts(convert, parts, values, window, shape)
    return dense_convolution(convert, data, values, window, groups, shape)


def product(convert: Converter, call: Any) -> Blocked | None:
    """`matmul` of (M, K) by known (K, N): a convolution of maps of one pixel."""
    from tvm import relax

    data, weight = call.args
    shape, values = sizes(data), number(weight)
    if shape is None or values is None or (len(shape), values.ndim) != (2, 2):
        return None
    if values.dtype != np.float32:
        return None
    taps, window = values.T[:, :, None, None], Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
    if convert.blocked(data) is None:
        source = convert.emit(relax.op.reshape(convert.plain(data), (*shape, 1, 1)))
    else:
        source = data
    made = dense_convolution(convert, source, taps, window, 1, (*shape, 1, 1))
    return Blocked(made.value, made.order, made.lanes, flat=True)


def _over_parts(
    convert: Converter, parts: tuple[Blocked, ...], values: Weights, window: Window, shape: Any
) -> Blocked:
    """Return a convolution of joined channels as the sum of those of its parts: no copy."""
    from tvm import relax

    made: Blocked | None = None
    start = 0
    for part in parts:
        share = values[:, start : start + part.channels]
        start += part.channels
        found = dense_convolution(convert, part, share, window, 1, shape)
        if made is not None:
            found = found.like(convert.emit(relax.op.add(found.value, made.value)))
        made = found
    assert made is not None
    return made


def dense_convolution(
    convert: Converter, data: Any, values: Weights, window: Window, groups: int, shape: Any
) -> Blocked:
    """Return the convolution of `data`, of this NCHW `shape`, with (O, I / groups, KH, KW)."""
    order, lanes = convert.layout(len(values))
    if groups == 1:
        order, lanes = convert.wanted.get(convert.current, (order, lanes))
    values, groups = _merged(values, groups, lanes)
    given = data if isinstance(data, Blocked) else convert.blocked(data)
    if given is not None and groups > 1:
        given = convert.reorder(given, *convert.layout(shape[1]))
    if given is None:
        held, within = tuple(range(values.shape[1])), 1
    elif groups == 1:
        held, within = given.order, given.lanes
    else:
        held = tuple(range(values.shape[1]))
        within = math.gcd(given.lanes, values.shape[1])
    weights = _packed(values, order, lanes, held, within)
    source = convert.plain(data) if given is None else given.value
    form = None
    if given is not None and within == given.lanes:
        form = _minimal(convert, weights, window, groups, shape)
    if form is not None:
        points = convert.constant(transformed_weights(weights, form.outputs))
        made = convert.te(winograd, source, points, window=window, groups=groups, form=form)
    else:
        options = {"window": window, "groups": groups, "core": convert.core}
        made = convert.te(dense, source, convert.constant(weights), **options)
    return Blocked(convert.emit(made), order, lanes)


def _together(outputs: int, groups: int, lanes: int) -> int:
    """Return how many groups make whole blocks of outputs, all of them if fewer do not."""
    counts = [count for count in range(1, groups + 1) if groups % count == 0]
    return next((count for count in counts if outputs // groups * count % lanes == 0), groups)


def _merged(values: Weights, groups: int, lanes: int) -> tuple[Weights, int]:
    """Return weights of fewer groups, zeros between those that were put together, so that each
    makes whole blocks of outputs."""
    outputs, inputs, *taps = values.shape
    each, together = outputs // groups, _together(outputs, groups, lanes)
    if together == 1:
        return values, groups
    wide = np.zeros((outputs, together, inputs, *taps), values.dtype)
    wide[np.arange(outputs), np.arange(outputs) // each % together] = values
    return wide.reshape(outputs, together * inputs, *taps), groups // together


def _packed(
    values: Weights, order: tuple[int, ...], lanes: int, held: tuple[int, ...], within: int
) -> Weights:
    """Return (O, I, KH, KW) as (out blocks, in blocks, KH, KW, in lanes, out lanes)."""
    slots = arranged(arranged(values, order, axis=0), held, axis=1)
    _, _, high, wide = values.shape
    blocks = slots.reshape(len(order) // lanes, lanes, len(held) // within, within, high, wide)
    return blocks.transpose(0, 2, 4, 5, 3, 1)


def _minimal(
    convert: Converter, weights: Weights, window: Window, groups: int, shape: Any
) -> Form | None:
    if not convert.winograd:
        return None
    blocks, into, _, _, within, _ = weights.shape
    outputs = window.outputs(*shape[2:])
    inputs, size = into * within, convert.weight_bytes
    return winograd_form(
        convert.core, window, groups, inputs, blocks // groups, outputs, network_bytes=size
    )


def lane_order(convert: Converter, call: Any) -> tuple[tuple[int, ...], int] | None:
    """Return the order in which a convolution with groups on lanes reads its channels, and the
    lanes; None where `call` is none, or takes any order.
    """
    if getattr(getattr(call, "op", None), "name", None) != "relax.nn.conv2d":
        return None
    values, groups = number(call.args[1]), int(call.attrs.groups)
    if values is None or groups == 1 or values.shape[1] == 1:
        return None
    if not _on_lanes(convert, values, groups, Window.of(call.attrs, values.shape[2:])):
        return None
    order, lanes = convert.layout(groups)
    return _spread(order, values.shape[1]), lanes


def _on_lanes(convert: Converter, values: Weights, groups: int, window: Window) -> bool:
    """Whether a group on each lane beats groups that are put together, zeros between them."""
    if values.shape[1] == 1:
        return True
    together = _together(len(values), groups, convert.layout(len(values))[1])
    order, lanes = convert.layout(groups)
    filled = groups / (len(order) // lanes * convert.core.lanes)
    minimal = convert.winograd and window.taps in SHAPES and window.strides == (1, 1)
    return together > 1 and filled * together > (WINOGRAD_GAIN if minimal else 1.0)


def _grouped(
    convert: Converter, data: Any, values: Weights, window: Window, groups: int
) -> Blocked:
    """A convolution with a group on each lane: all first outputs of groups come first.

    So do the inputs, where a group has several: they change places for it.
    """
    outputs, inputs, high, wide = values.shape
    each = outputs // groups
    order, lanes = convert.layout(groups)
    given = convert.blocked(data)
    if given is None or inputs > 1:
        given = convert.pack(data, _spread(order, inputs), lanes)
        held = order
    else:
        held, lanes = given.order, given.lanes
    weights = arranged(values.reshape(groups, each, inputs, high, wide), held, axis=0)
    weights = weights.reshape(len(held) // lanes, lanes, each, inputs, high, wide)
    weights = weights.transpose(2, 3, 0, 4, 5, 1)
    made = convert.te(
        on_lanes, given.value, convert.constant(weights), window=window, core=convert.core
    )
    return Blocked(convert.emit(made), _spread(held, each), lanes)


def _spread(groups: tuple[int, ...], width: int) -> tuple[int, ...]:
    """Return the order of channels that has the first ones of all groups first."""
    return tuple(
        EMPTY if group == EMPTY else group * width + j for j in range(width) for group in groups
    )
