"""moves_to_conv: channels that are moved about become a convolution of ones and zeros.

Before:  DepthToSpace<2>(x)                                   x: (N, 4*C, H, W)
After:   ConvTranspose<2x2, stride 2>(x, ones and zeros)      (N, C, 2*H, 2*W)
DepthToSpace; SpaceToDepth, as a Conv of that stride; a Pad of channels by zeros and a Gather of
channels, as a 1x1 Conv. A DLA has convolutions in place of these. Exact for finite numbers; it
multiplies where nothing was multiplied. Refuses open channels, and other pads and axes.
NVIDIA's Deep-Learning-Accelerator-SW reconstructs DepthToSpace and Gather so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.conv import Refusal, constant
from edgecc.graph import add_initializer
from edgecc.rewrite import Decision, Pass, Room, replace
from passes.prepare.fold_pad import zero_pads

KINDS = ("DepthToSpace", "SpaceToDepth", "Pad", "Gather")
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MovesToConv(Pass):
    """Moves of channels become convolutions."""

    name: ClassVar[str] = "moves_to_conv"
    room: ClassVar[Room] = "legalise"

    channels: int = 8192
    """The most channels that the target convolves."""

    def run(self, model: ir.Model) -> list[Decision]:
        """Replace every move of channels of the main graph."""
        decisions = []
        for node in list(model.graph):
            if node.domain != "" or node.op_type not in KINDS:
                continue
            name = node.name or node.outputs[0].name or ""
            weight = self._weight(node)
            if isinstance(weight, Refusal):
                decisions.append(Decision(name, self.name, refusal=str(weight)))
                continue
            made = _convolution(node, weight)
            replace(node, made.outputs[0], [made])
            decisions.append(Decision(name, self.name, made=(made.name or "",)))
        return decisions

    def _weight(self, node: ir.Node) -> Array | Refusal:
        """Ones and zeros: (O, I, KH, KW), for a DepthToSpace (I, O, KH, KW)."""
        x = node.inputs[0]
        shape = list(x.shape or ()) if x is not None else []
        if x is None or x.dtype is None or not x.dtype.is_floating_point():
            return Refusal("its input is no fractions")
        if len(shape) != 4 or not isinstance(shape[1], int):
            return Refusal("its input is no map with a known number of channels")
        count = shape[1]
        if node.op_type in ("DepthToSpace", "SpaceToDepth"):
            weight: Array | Refusal = _blocks(node, count)
        else:
            chosen = _padded(node, count) if node.op_type == "Pad" else _gathered(node, count)
            weight = chosen if isinstance(chosen, Refusal) else _choice(chosen, count)
        if not isinstance(weight, Refusal) and max(weight.shape) > self.channels:
            return Refusal(f"it has more than {self.channels} channels")
        return weight


def _blocks(node: ir.Node, count: int) -> Array:
    """Blocks of pixels as channels: (count, C, r, r) for a DepthToSpace, (C*r*r, C, r, r) else."""
    size = node.attributes.get_int("blocksize", 1)
    deep = node.op_type == "DepthToSpace"
    flat = count // size**2 if deep else count
    order = (size, size, flat)  # DCR: the place in the block, then the channel
    places = np.arange(flat * size**2).reshape(order).transpose(2, 0, 1)
    if deep and node.attributes.get_string("mode", "DCR") == "CRD":
        places = np.arange(count).reshape(flat, size, size)
    weight = np.zeros((flat * size**2, flat, size, size))
    for channel, row, column in np.ndindex(*places.shape):
        weight[places[channel, row, column], channel, row, column] = 1
    return weight


def _choice(chosen: list[int | None], count: int) -> Array:
    """A 1x1 kernel that puts out the chosen channels, zeros for None."""
    weight = np.zeros((len(chosen), count, 1, 1))
    for place, channel in enumerate(chosen):
        if channel is not None:
            weight[place, channel] = 1
    return weight


def _padded(node: ir.Node, count: int) -> list[int | None] | Refusal:
    found = zero_pads(node)
    if isinstance(found, Refusal):
        return found
    begins, ends = found
    others = [n for axis, n in enumerate(zip(begins, ends, strict=True)) if axis != 1]
    if any(map(any, others)):
        return Refusal("it pads other dimensions than the channels")
    before, behind = begins[1], ends[1]
    kept: list[int | None] = list(range(max(-before, 0), count - max(-behind, 0)))
    return [*[None] * before, *kept, *[None] * behind] or Refusal("it leaves no channel")


def _gathered(node: ir.Node, count: int) -> list[int | None] | Refusal:
    indices = constant(node.inputs[1])
    if node.attributes.get_int("axis", 0) not in (1, -3):
        return Refusal("it gathers along another dimension than the channels")
    if indices is None or indices.ndim != 1 or not indices.size:
        return Refusal("its channels are no fixed list")
    return [int(index) % count for index in indices]


def _convolution(node: ir.Node, weight: Array) -> ir.Node:
    x, graph = node.inputs[0], node.graph
    assert x is not None
    assert isinstance(graph, ir.Graph)
    stem = f"{node.name or node.outputs[0].name}.moves"
    dtype: Any = (x.dtype or ir.DataType.FLOAT).numpy()
    kernel = list(weight.shape[2:])
    kind = "ConvTranspose" if node.op_type == "DepthToSpace" else "Conv"
    value = add_initializer(graph, f"{stem}.weight", weight.astype(dtype))
    attributes = {"kernel_shape": kernel, "strides": kernel}
    return ir.node(kind, [x, value], attributes=attributes, name=stem)
