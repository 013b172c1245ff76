"""Networks of one convolution and its ReLU, or of several alike in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


@dataclass(frozen=True)
class Layer:
    """A convolution: channels in and out, the height and width of its input, its window."""

    channels: int
    outputs: int
    size: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    groups: int = 1
    transposed: bool = False

    def __str__(self) -> str:
        window = "x".join(map(str, self.kernel)) + (f" s{self.stride}" if self.stride > 1 else "")
        kind = " transposed" if self.transposed else ""
        if self.groups > 1:
            width = self.channels // self.groups
            kind += " depthwise" if width == 1 else f" groups of {width}"
        return f"{self.channels}>{self.outputs} {window}{kind}, {self.size}x{self.size}"

    @property
    def pads(self) -> tuple[int, int]:
        """Before each axis, and as much behind: a transposed one makes `stride` times the size."""
        if self.transposed:
            return ((self.kernel[0] - self.stride) // 2, (self.kernel[1] - self.stride) // 2)
        return (self.kernel[0] // 2, self.kernel[1] // 2)

    @property
    def out_size(self) -> int:
        """The height and width of its output."""
        if self.transposed:
            return self.size * self.stride
        return (self.size - 1) // self.stride + 1

    @property
    def macs(self) -> int:
        """Its multiply-adds, for a whole picture."""
        per_window = self.kernel[0] * self.kernel[1] * self.channels // self.groups * self.outputs
        return per_window * (self.size if self.transposed else self.out_size) ** 2

    @property
    def keeps_shape(self) -> bool:
        """Whether several can follow each other."""
        return self.channels == self.outputs and self.size == self.out_size


def network(*layers: Layer) -> onnx.ModelProto:
    """Layers in a row, a ReLU behind each; random weights that keep the scale; input "x"."""
    random = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for index, layer in enumerate(layers):
        fan_in = layer.channels // layer.groups * layer.kernel[0] * layer.kernel[1]
        shape = (layer.outputs, layer.channels // layer.groups, *layer.kernel)
        if layer.transposed:
            shape = (layer.channels, layer.outputs // layer.groups, *layer.kernel)
        weight = random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
        bias = random.standard_normal(layer.outputs, np.float32) / 10
        names = [f"w{index}", f"b{index}"]
        weights += [
            numpy_helper.from_array(array, name)
            for array, name in zip((weight, bias), names, strict=True)
        ]
        kind = "ConvTranspose" if layer.transposed else "Conv"
        nodes.append(
            helper.make_node(
                kind,
                [x, *names],
                [f"c{index}"],
                f"conv{index}",
                strides=[layer.stride] * 2,
                pads=[*layer.pads, *layer.pads],
                group=layer.groups,
            )
        )
        x = "y" if index == len(layers) - 1 else f"r{index}"
        nodes.append(helper.make_node("Relu", [f"c{index}"], [x], f"relu{index}"))
    first, last = layers[0], layers[-1]
    given = helper.make_tensor_value_info(
        "x", TensorProto.FLOAT, [1, first.channels, first.size, first.size]
    )
    made = helper.make_tensor_value_info(
        "y", TensorProto.FLOAT, [1, last.outputs, last.out_size, last.out_size]
    )
    graph = helper.make_graph(nodes, "layers", [given], [made], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
