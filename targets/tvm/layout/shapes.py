"""Rules for operators that move tensors without computing."""

from __future__ import annotations

from typing import Any

from targets.tvm.layout.blocked import EMPTY, Blocked
from targets.tvm.layout.convert import Converter, sizes


def concat(convert: Converter, call: Any) -> Blocked | None:
    """`concat` of channels: the blocks of one behind those of the other."""
    from tvm import relax

    shape, operands = sizes(call), convert.fields(call.args[0])
    if shape is None or len(shape) != 4 or int(call.attrs.axis) % 4 != 1:
        return None
    found = [convert.blocked(operand) for operand in operands]
    held = [given.lanes for given in found if given is not None]
    if len(held) < len(found) or len(set(held)) != 1:
        return None
    order: list[int] = []
    channels = 0
    for given in found:
        assert given is not None
        order += [EMPTY if slot == EMPTY else slot + channels for slot in given.order]
        channels += given.channels
    values = relax.Tuple([given.value for given in found if given is not None])
    return Blocked(convert.emit(relax.op.concat(values, axis=1)), tuple(order), held[0])


def reshape(convert: Converter, call: Any) -> Blocked | None:
    """From maps of one pixel to a vector of channels, and back."""
    given, before, after = convert.blocked(call.args[0]), sizes(call.args[0]), sizes(call)
    if given is None or before is None or after is None:
        return None
    pixel, vector = (before, after) if len(before) == 4 else (after, before)
    if len(pixel) != 4 or len(vector) != 2 or pixel != (*vector, 1, 1):
        return None
    return Blocked(given.value, given.order, given.lanes, flat=len(after) == 2)
