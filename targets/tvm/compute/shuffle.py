"""Channels put in other slots by shuffles of whole vectors, known when compiled.

As a gather of single numbers this took a fifth of a network that permutes its channels (HetConv).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SCHEDULED = "tirx.is_scheduled"
OPAQUE = 8  # relax.op.OpPatternKind: nothing is fused with it


def shuffle(shape: tuple[int, ...], places: npt.NDArray[np.int32]) -> Any:
    """Return a function from (N, blocks, H, W, lanes) of this `shape` to other blocks and lanes.

    `places` (blocks, lanes) is the slot of the input in which each slot of the output lies.
    """
    from tvm import s_tir, tirx

    batch, _, height, width, held = shape
    blocks, lanes = places.shape
    x = tirx.decl_buffer(shape, "float32", "x")
    y = tirx.decl_buffer((batch, blocks, height, width, lanes), "float32", "y")
    line, column = tirx.Var("line", "int64"), tirx.Var("column", "int64")
    image, row = line // height, line % height

    def vector(block: int) -> Any:
        return tirx.BufferLoad(x, [image, block, row, column, _ramp(held)])

    stores = []
    for number, slots in enumerate(places):
        read = sorted({int(slot) // held for slot in slots})
        read += read[:1] * (-(-lanes // held) - len(read))  # no result is longer than what is read
        lane = {block: i * held for i, block in enumerate(read)}
        indices = [lane[int(slot) // held] + int(slot) % held for slot in slots]
        value = vector(read[0])
        if lanes * held > 1:
            vectors = [vector(block) for block in read]
            value = tirx.Shuffle(vectors, [_number(i) for i in indices])
        stores.append(tirx.BufferStore(y, value, [image, number, row, column, _ramp(lanes)]))
    body = tirx.SeqStmt(stores) if len(stores) > 1 else stores[0]
    body = tirx.For(column, _number(0), _number(width), tirx.ForKind.SERIAL, body)
    body = tirx.For(line, _number(0), _number(batch * height), tirx.ForKind.PARALLEL, body)
    root = s_tir.SBlock([], [], [], "root", body)  # which passes of Relax expect
    body = s_tir.SBlockRealize([], tirx.const(True, "bool"), root)
    attrs = {SCHEDULED: True, "op_pattern": OPAQUE, "tirx.noalias": True}
    function = tirx.PrimFunc([x, y], body)
    for key, value in attrs.items():
        function = function.with_attr(key, value)
    return function


def _number(value: int) -> Any:
    from tvm import tirx

    return tirx.IntImm("int64", value)


def _ramp(lanes: int) -> Any:
    from tvm import tirx

    if lanes == 1:
        return _number(0)
    return tirx.Ramp(_number(0), _number(1), lanes)
