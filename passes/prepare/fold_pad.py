"""fold_pad: a zero Pad before a convolution becomes the convolution's own pads.

Before:  Pad<constant 0, pads=[0,0,1,1,0,0,1,1]>(x) -> Conv<pads=[0,0,0,0]>
After:   Conv<pads=[1,1,1,1]>(x)
Exact. Refuses pads of batch or channels, negative ones, other modes (reflect, edge, wrap), other
values than 0, and a convolution whose pads are still in words.
onnxscript has such a rule; it fails on opset 10 and older, where pads are an attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal, constant, ints, is_convolution
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class FoldPad(Pass):
    """Pad goes into the convolutions that read it."""

    name: ClassVar[str] = "fold_pad"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Fold every Pad into every Conv behind it; what is unused then is removed later."""
        decisions = []
        for conv in model.graph:
            x = conv.inputs[0] if conv.inputs else None
            pad = x.producer() if x is not None else None
            if (
                is_convolution(conv)
                and conv.op_type == "Conv"
                and pad is not None
                and pad.op_type == "Pad"
            ):
                decisions.append(self._fold(pad, conv))
        return decisions

    def _fold(self, pad: ir.Node, conv: ir.Node) -> Decision:
        name = pad.name or pad.outputs[0].name or ""
        pads = _spatial_pads(pad)
        if conv.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
            pads = Refusal("the pads of the convolution behind it are in words")
        if isinstance(pads, Refusal):
            return Decision(name, self.name, refusal=str(pads))
        own = ints(conv, "pads", [0] * len(pads))
        both = [a + b for a, b in zip(own, pads, strict=True)]
        conv.attributes.add(ir.AttrInt64s("pads", both))
        conv.replace_input_with(0, pad.inputs[0])
        return Decision(name, self.name, note=f"folded into {conv.name}")


def _spatial_pads(pad: ir.Node) -> list[int] | Refusal:
    """The pads of the spatial dimensions: all beginnings, then all ends."""
    found = zero_pads(pad)
    if isinstance(found, Refusal):
        return found
    begins, ends = found
    if any(begins[:2] + ends[:2]):
        return Refusal("it pads the batch or the channels")
    if min(begins + ends, default=0) < 0:
        return Refusal("it crops")
    return begins[2:] + ends[2:]


def zero_pads(pad: ir.Node) -> tuple[list[int], list[int]] | Refusal:
    """Return what a Pad of zeros puts before and behind each dimension."""
    mode = pad.attributes.get_string("mode", "constant")
    if mode != "constant":
        return Refusal(f"its mode is {mode}")
    inputs = [*pad.inputs, *[None] * 4][:4]
    numbers = [constant(value) for value in inputs]
    if any(v is not None and n is None for v, n in zip(inputs[1:], numbers[1:], strict=True)):
        return Refusal("its pads or its value are computed at run time")
    value = pad.attributes.get_float("value", 0.0) if numbers[2] is None else numbers[2]
    if np.any(value):
        return Refusal("its value is not 0")
    x = inputs[0]
    if x is None or x.shape is None:
        return Refusal("its input has no known rank")
    rank = len(x.shape)
    given = ints(pad, "pads", []) if numbers[1] is None else numbers[1].tolist()
    axes = range(rank) if numbers[3] is None else [int(a) % rank for a in numbers[3].tolist()]
    count = len(given) // 2
    begins, ends = [0] * rank, [0] * rank
    for axis, begin, end in zip(axes, given[:count], given[count:], strict=True):
        begins[axis], ends[axis] = int(begin), int(end)
    return begins, ends
