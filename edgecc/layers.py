"""What a rewrite would cost, before anything is rewritten: its operators by their sizes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from edgecc.builder import Builder
from edgecc.conv import Array, Conv, Window

Sizes = tuple[int, ...]
"""Channels, then the spatial dimensions, of one sample."""


@dataclass(frozen=True)
class Layer:
    """One operator with all that its price depends on."""

    operator: str
    """Conv, Gemm, Gather or Add."""
    x: Sizes
    """What it reads, of one sample."""
    y: Sizes
    """What it writes."""
    weight: Sizes = ()
    """(O, I/G, *kernel) for a Conv or Gemm."""
    groups: int = 1
    window: Window | None = None

    @property
    def macs(self) -> int:
        """Multiply-adds of one sample."""
        return math.prod(self.y) * math.prod(self.weight[1:]) if self.weight else 0

    @property
    def params(self) -> int:
        """Weights to store, the bias left out."""
        return math.prod(self.weight) if self.weight else 0

    @property
    def numbers_moved(self) -> int:
        """Numbers read and written once each: input, weights, output."""
        inputs = math.prod(self.x) * (2 if self.operator == "Add" else 1)
        return inputs + self.params + math.prod(self.y)


@dataclass
class Sketch(Builder[Sizes]):
    """Notes the operators of a rewrite; only the shapes of the weights are looked at."""

    layers: list[Layer] = field(default_factory=list)

    def conv(
        self,
        x: Sizes,
        weight: Array,
        bias: Array | None = None,
        *,
        window: Window | None = None,
        groups: int = 1,
    ) -> Sizes:
        """Note a Conv or Gemm."""
        spatial = weight.ndim - 2
        window = window or Window.pointwise(spatial)
        y = (int(weight.shape[0]), *output_sizes(x[1:], tuple(weight.shape[2:]), window))
        operator = "Conv" if spatial else "Gemm"
        self.layers.append(Layer(operator, x, y, tuple(weight.shape), groups, window))
        return y

    def gather(self, x: Sizes, channels: npt.NDArray[Any]) -> Sizes:
        """Note a choice of channels."""
        y = (len(channels), *x[1:])
        self.layers.append(Layer("Gather", x, y))
        return y

    def add(self, x: Sizes, y: Sizes) -> Sizes:
        """Note a sum."""
        self.layers.append(Layer("Add", x, x))
        return x


def output_sizes(sizes: Sizes, kernel: Sizes, window: Window) -> Sizes:
    """The spatial sizes that a convolution puts out (ONNX Conv)."""
    spatial = len(sizes)
    return tuple(
        (size + window.pads[i] + window.pads[spatial + i] - window.dilations[i] * (k - 1) - 1)
        // window.strides[i]
        + 1
        for i, (size, k) in enumerate(zip(sizes, kernel, strict=True))
    )


def dense(conv: Conv, sizes: Sizes) -> list[Layer]:
    """The convolution as it is, on an input of the given spatial sizes."""
    sketch = Sketch()
    sketch.conv((conv.in_channels, *sizes), conv.weight, window=conv.window, groups=conv.groups)
    return sketch.layers


def nominal_sizes(conv: Conv) -> Sizes:
    """Spatial sizes for comparing costs where the real ones are not known: 32 outputs a side."""
    return tuple(
        32 * stride + dilation * (k - 1)
        for stride, dilation, k in zip(
            conv.window.strides, conv.window.dilations, conv.kernel, strict=True
        )
    )
