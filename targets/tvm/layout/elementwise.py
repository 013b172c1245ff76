"""Rules for what is computed number by number."""

from __future__ import annotations

from typing import Any

from targets.tvm.layout.blocked import Blocked, arranged
from targets.tvm.layout.converter import Converter
from targets.tvm.relax_values import number, sizes

FINITE = [
    "relax.nn.relu",
    "relax.nn.leakyrelu",
    "relax.nn.silu",
    "relax.nn.gelu",
    "relax.nn.gelu_tanh",
    "relax.clip",
    "relax.sigmoid",
    "relax.tanh",
    "relax.add",
    "relax.subtract",
    "relax.multiply",
    "relax.maximum",
    "relax.minimum",
    "relax.divide",
    "relax.abs",
    "relax.negative",
    "relax.erf",
    "relax.nn.softplus",
    "relax.square",
]
"""Finite for finite numbers, whatever an empty slot holds."""
FULL = ["relax.sqrt", "relax.rsqrt", "relax.power", "relax.log", "relax.exp"]
"""Only where every slot holds a channel: a slot whose channel was dropped may hold large numbers,
and zero times the infinity that exp makes of them is none."""


def elementwise(convert: Converter, call: Any) -> Blocked | None:
    """What is computed number by number, one of its operands blocked already."""
    from tvm import relax

    layouts = [found for operand in call.args if (found := convert.blocked(operand))]
    shape = sizes(call)
    if not layouts or shape is None or len(shape) not in (2, 4):
        return None
    whole = [found for found in layouts if found.channels == shape[1]]
    if not whole or (call.op.name in FULL and not whole[0].full):
        return None
    if call.op.name == "relax.divide" and number(call.args[1]) is None and not whole[0].full:
        return None
    operands = [_operand(convert, operand, whole[0], shape) for operand in call.args]
    if any(operand is None for operand in operands):
        return None
    return whole[0].like(convert.emit(relax.Call(call.op, operands, call.attrs)))


def _operand(convert: Converter, operand: Any, like: Blocked, shape: tuple[int, ...]) -> Any:
    from tvm import relax

    if not isinstance(operand.ty, relax.TensorType):
        return operand
    found = sizes(operand)
    if found is None:
        return None
    values = number(operand)
    if values is not None:
        return convert.constant(_spread(values, like, len(shape)))
    if len(found) != len(shape):
        return None
    if found[1] == shape[1]:
        return convert.pack(operand, like.order, like.lanes).value
    if found[1] == 1:
        return convert.emit(
            relax.op.reshape(convert.plain(operand), (*found, *[1] * (5 - len(found))))
        )
    return None


def _spread(values: Any, like: Blocked, rank: int) -> Any:
    """Return a constant that spreads over a tensor of this layout, (N, blocks, H, W, lanes)."""
    values = values.reshape([1] * (rank - values.ndim) + [*values.shape] + [1] * (4 - rank))
    if values.shape[1] == 1:
        return values[..., None]
    slots = arranged(values, like.order, axis=1, fill=1)
    count, _, high, wide = slots.shape
    blocks = slots.reshape(count, like.blocks, like.lanes, high, wide)
    return blocks.transpose(0, 1, 3, 4, 2)
