"""An ONNX graph as a torch module, and back with other weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional


class Network(nn.Module):
    """An ONNX graph in torch: a layer for each Conv and Gemm, functions for the rest."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.nodes = list(model.graph.node)
        self.source, self.result = model.graph.input[0].name, model.graph.output[0].name
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.layers = nn.ModuleDict()
        self.keys: dict[str, str] = {}  # of the layer that makes a value
        self.positions: dict[str, int] = {}  # that a layer is evaluated at
        for index, node in enumerate(self.nodes):
            if node.op_type in LAYERS:
                self.keys[node.output[0]] = str(index)
                weights = [torch.tensor(self.constants[name]) for name in node.input[1:]]
                self.layers[str(index)] = LAYERS[node.op_type](attributes(node), *weights)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the graph."""
        values: dict[str, Tensor | np.ndarray] = {**self.constants, self.source: x}
        for node in self.nodes:
            name, options = node.output[0], attributes(node)
            if key := self.keys.get(name):
                x = values[node.input[0]]
                y = self.layers[key](spread(options, x) if node.op_type == "Conv" else x)
                self.positions[key] = y[0, 0].numel()
            else:
                y = FUNCTIONS[node.op_type](options, *(values[i] for i in node.input))
            values[name] = y
        return values[self.result]

    def macs(self) -> int:
        """Multiply-adds at the shape last evaluated."""
        return sum(self.layers[k].weight.numel() * p for k, p in self.positions.items())

    def written(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return `model` with the weights as they are now."""
        small = onnx.ModelProto()
        small.CopyFrom(model)
        tensors = {tensor.name: tensor for tensor in small.graph.initializer}
        for node in small.graph.node:
            if node.output[0] in self.keys:
                layer = self.layers[self.keys[node.output[0]]]
                for name, value in zip(node.input[1:], (layer.weight, layer.bias), strict=False):
                    array = value.detach().numpy()
                    tensors[name].CopyFrom(numpy_helper.from_array(array, name))
        del small.graph.value_info[:]
        return small


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def spread(options: dict[str, Any], x: Tensor, value: float = 0.0) -> Tensor:
    """Pad the input of a layer or a pool, whose own padding torch has at both ends alike."""
    top, left, bottom, right = options.get("pads", [0] * 4)
    return functional.pad(x, (left, right, top, bottom), value=value)


def convolution(options: dict[str, Any], weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """Conv, of an input that is padded already."""
    groups = options.get("group", 1)
    shape = weight.shape[1] * groups, len(weight), tuple(weight.shape[2:])
    strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    layer = nn.Conv2d(*shape, strides, 0, dilations, groups, bias is not None)
    return filled(layer, weight, bias)


def linear(options: dict[str, Any], weight: Tensor, bias: Tensor) -> nn.Linear:
    """Gemm."""
    if not options.get("transB"):
        raise ValueError("this script takes a Gemm with transB=1 only")
    return filled(nn.Linear(weight.shape[1], weight.shape[0]), weight, bias)


def filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Give a layer its weights."""
    layer.weight = nn.Parameter(weight)
    layer.bias = None if bias is None else nn.Parameter(bias)
    return layer


def average(options: dict[str, Any], x: Tensor) -> Tensor:
    """AveragePool that pads nothing."""
    if any(options.get("pads", [])) or options.get("ceil_mode"):
        raise ValueError("this script takes an AveragePool without padding only")
    return functional.avg_pool2d(x, options["kernel_shape"], options.get("strides", [1, 1]))


def greatest(options: dict[str, Any], x: Tensor) -> Tensor:
    """MaxPool."""
    x = spread(options, x, float("-inf"))
    ceil, strides = bool(options.get("ceil_mode")), options.get("strides", [1, 1])
    return functional.max_pool2d(x, options["kernel_shape"], strides, ceil_mode=ceil)


def cut(_: dict[str, Any], x: Tensor, *arrays: np.ndarray) -> Tensor:
    """Slice."""
    starts, ends, axes, steps = arrays
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(int(start), int(end), int(step))
    return x[tuple(index)]


def padded(_: dict[str, Any], x: Tensor, pads: np.ndarray, *__: object) -> Tensor:
    """Pad with zeros."""
    pairs = np.array(pads).reshape(2, -1).T[::-1]
    return functional.pad(x, [int(p) for p in pairs.ravel()])


def shuffled(options: dict[str, Any], x: Tensor) -> Tensor:
    """DepthToSpace."""
    if options.get("mode") != b"CRD":
        raise ValueError("this script takes a DepthToSpace of mode CRD only")
    return functional.pixel_shuffle(x, options["blocksize"])


LAYERS = {"Conv": convolution, "Gemm": linear}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, x, y: x + y,
    "AveragePool": average,
    "Concat": lambda options, *xs: torch.cat(xs, dim=options["axis"]),
    "DepthToSpace": shuffled,
    "Dropout": lambda _, x: x,
    "Flatten": lambda _, x: x.flatten(1),
    "GlobalAveragePool": lambda _, x: x.mean(dim=(2, 3), keepdim=True),
    "Identity": lambda _, x: x,
    "MaxPool": greatest,
    "Pad": padded,
    "Relu": lambda _, x: functional.relu(x),
    "Slice": cut,
    "Softmax": lambda _, x: x.softmax(dim=1),
    "Sub": lambda _, x, y: x - y,
}
