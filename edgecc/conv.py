"""A convolution as numbers, read from its node once, and the refusal to do something with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Refusal:
    """Why a rewrite does not fit a convolution: an answer that is reported, not an error."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Window:
    """How a kernel moves over its input. `pads` is ONNX's: all beginnings, then all ends."""

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    @classmethod
    def pointwise(cls, spatial: int) -> Window:
        """The window of a kernel of one tap in so many spatial dimensions."""
        return cls((1,) * spatial, (0,) * 2 * spatial, (1,) * spatial)

    def along(self, axis: int) -> Window:
        """The same along one spatial dimension, that of a single tap along the others."""
        spatial = len(self.strides)
        return Window(
            tuple(s if i == axis else 1 for i, s in enumerate(self.strides)),
            tuple(p if i % spatial == axis else 0 for i, p in enumerate(self.pads)),
            tuple(d if i == axis else 1 for i, d in enumerate(self.dilations)),
        )

    def without_pads(self) -> Window:
        """The same strides and dilations, nothing padded."""
        return Window(self.strides, (0,) * len(self.pads), self.dilations)


@dataclass(frozen=True, eq=False)
class Conv:
    """An ONNX Conv with constant weights, in any number of spatial dimensions."""

    name: str
    weight: Array
    """(O, I/G, *kernel), float32 or float64."""
    bias: Array | None
    """(O,)"""
    window: Window
    groups: int

    @property
    def out_channels(self) -> int:
        """O."""
        return int(self.weight.shape[0])

    @property
    def in_channels(self) -> int:
        """I."""
        return int(self.weight.shape[1]) * self.groups

    @property
    def kernel(self) -> tuple[int, ...]:
        """The kernel's size along each spatial dimension."""
        return tuple(self.weight.shape[2:])

    @property
    def taps(self) -> int:
        """How many positions the kernel has (kh * kw)."""
        return math.prod(self.kernel)

    @property
    def is_depthwise(self) -> bool:
        """Whether every filter sees one input channel of several."""
        return self.weight.shape[1] == 1 and self.groups > 1

    @property
    def macs_per_position(self) -> int:
        """Multiply-adds for one output position (all channels)."""
        return int(self.weight.size)

    @property
    def patch_size(self) -> int:
        """How many numbers one filter sees: I/G * taps."""
        return int(self.weight.shape[1]) * self.taps

    def matrix(self) -> Array:
        """The filters as rows in float64, by group: (G, O/G, I/G*taps), channel-major."""
        shape = (self.groups, self.out_channels // self.groups, self.patch_size)
        return self.weight.astype(np.float64).reshape(shape)

    def level(self, mean: Array) -> Array:
        """What it puts out on average (O,) where its patches have this mean (G, d)."""
        bias = np.zeros(self.out_channels) if self.bias is None else self.bias
        level: Array = np.einsum("gnd,gd->gn", self.matrix(), mean).ravel() + bias
        return level


CONVOLUTIONS = ("Conv", "ConvTranspose")


def is_convolution(node: ir.Node) -> bool:
    """Return whether `node` is one of ONNX's own convolutions."""
    return node.op_type in CONVOLUTIONS and node.domain in ("", "ai.onnx")


def nested_convolutions(model: ir.Model) -> list[ir.Node]:
    """Return the convolutions inside subgraphs (If, Loop, Scan), which are left as they are."""
    every = model.graph.all_nodes()
    return [node for node in every if is_convolution(node) and node.graph is not model.graph]


def is_gemm(node: ir.Node) -> bool:
    """Return whether `node` is a fully connected layer, ONNX's Gemm."""
    return node.op_type == "Gemm" and node.domain in ("", "ai.onnx")


def read(node: ir.Node) -> Conv | Refusal:
    """Read a Conv node as numbers, or say why it is not one a rewrite can use.

    A Gemm is read as a convolution without spatial dimensions.
    """
    if node.op_type == "ConvTranspose":
        return Refusal("it is a transposed convolution")
    if is_gemm(node):
        return _read_gemm(node)
    weight = constant(node.inputs[1])
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if weight is None or (bias is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return Refusal("its weights are computed at run time")
    if weight.dtype not in (np.float32, np.float64):
        return Refusal(f"its weights are {weight.dtype}")
    if not np.isfinite(weight).all():
        return Refusal("its weights hold NaN or infinity")
    groups = node.attributes.get_int("group", 1)
    if weight.ndim < 3 or not weight.size or groups < 1 or weight.shape[0] % groups:
        sizes = "x".join(map(str, weight.shape))
        return Refusal(f"its weights ({sizes}) do not fit {groups} groups")
    spatial = weight.ndim - 2
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "VALID"):
        return Refusal(f"its pads are {auto_pad} of an unknown size; --shape would fix it")
    pads = [0] * (2 * spatial) if auto_pad == "VALID" else ints(node, "pads", [0] * (2 * spatial))
    return Conv(
        name=node.name or "",
        weight=weight,
        bias=bias,
        window=Window(
            strides=tuple(ints(node, "strides", [1] * spatial)),
            pads=tuple(pads),
            dilations=tuple(ints(node, "dilations", [1] * spatial)),
        ),
        groups=groups,
    )


def _read_gemm(node: ir.Node) -> Conv | Refusal:
    weight = constant(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant(given)
    if weight is None or (bias is None and given is not None):
        return Refusal("its weights are computed at run time")
    attributes = node.attributes
    scaled = any(attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    if scaled or attributes.get_int("transA", 0) != 0:
        return Refusal("it scales or transposes what it multiplies")
    weight = weight if attributes.get_int("transB", 0) == 1 else weight.T
    if weight.dtype not in (np.float32, np.float64) or not np.isfinite(weight).all():
        return Refusal("its weights are not all finite floating-point numbers")
    if bias is not None and (bias.size not in (1, len(weight))):
        return Refusal("its bias differs from sample to sample")
    if bias is not None:
        bias = np.broadcast_to(bias.ravel(), (len(weight),)).copy()
    return Conv(node.name or "", np.ascontiguousarray(weight), bias, Window.pointwise(0), 1)


def constant(value: ir.Value | None) -> Array | None:
    """Return the numbers of a value that never changes, else None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    """Return a list attribute of a node, or what ONNX takes in its place."""
    found = node.attributes.get(name)
    return default if found is None else list(found.as_ints())
