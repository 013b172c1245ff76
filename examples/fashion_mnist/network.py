"""The example network: 463,594 parameters, 36.35 M convolution MACs, all of them dense 3x3.

image    Sub, Div                        (N, 1, 28, 28), pixels 0..1 to mean 0 and deviation 1
stem     Conv 32x1x3x3, norm, ReLU       (N, 32, 28, 28)
down1    Conv 64x32x3x3 s2, norm, ReLU   (N, 64, 14, 14)
body1    two Conv 64x64x3x3, residual    (N, 64, 14, 14)
down2    Conv 128x64x3x3 s2, norm, ReLU  (N, 128, 7, 7)
body2    two Conv 128x128x3x3, residual  (N, 128, 7, 7)
head     GlobalAveragePool, Gemm         (N, 10)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

MEAN, STD = 0.286, 0.353  # of the training pixels, scaled to 0..1


class Convolution(nn.Module):
    """A 3x3 convolution without bias, and its BatchNorm."""

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, filters, H / stride, W / stride)."""
        return self.norm(self.conv(x))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Two convolutions with a shortcut around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = Convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (N, channels, H, W)."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Network(nn.Module):
    """The classifier: pixels 0..1 of (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(1, 32)
        self.down1 = Convolution(32, 64, stride=2)
        self.body1 = Residual(64)
        self.down2 = Convolution(64, 128, stride=2)
        self.body2 = Residual(128)
        self.head = nn.Linear(128, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        x = torch.relu(self.stem((image - MEAN) / STD))
        x = self.body1(torch.relu(self.down1(x)))
        x = self.body2(torch.relu(self.down2(x)))
        return self.head(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def to_onnx(network: Network) -> onnx.ModelProto:
    """Write the network as ONNX, BatchNorm unfolded and nodes named as the torch modules are.

    Built node by node: torch's exporter folds BatchNorm and numbers the nodes.
    """
    graph = _Graph()
    x = graph.node("Sub", "image.centre", "image", graph.constant("image.mean", np.float32(MEAN)))
    x = graph.node("Div", "image.scale", x, graph.constant("image.std", np.float32(STD)))
    x = graph.node("Relu", "stem.relu", graph.convolution("stem", network.stem, x))
    x = graph.node("Relu", "down1.relu", graph.convolution("down1", network.down1, x))
    x = graph.residual("body1", network.body1, x)
    x = graph.node("Relu", "down2.relu", graph.convolution("down2", network.down2, x))
    x = graph.residual("body2", network.body2, x)
    x = graph.node("GlobalAveragePool", "head.pool", x)
    x = graph.node("Flatten", "head.flatten", x, axis=1)
    weight, bias = (graph.tensor(f"head.{n}", p) for n, p in network.head.named_parameters())
    graph.node("Gemm", "head.gemm", x, weight, bias, transB=1, output="logits")
    return graph.model()


class _Graph:
    """An ONNX graph under construction; a value is named after the node that makes it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: np.ndarray | np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def tensor(self, name: str, value: Tensor) -> str:
        return self.constant(name, value.detach().float().contiguous().numpy())

    def node(
        self, op: str, name: str, *inputs: str, output: str | None = None, **attributes: Any
    ) -> str:
        output = output or f"{name}.out"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def convolution(self, name: str, layer: Convolution, x: str) -> str:
        conv, norm = layer.conv, layer.norm
        weight = self.tensor(f"{name}.conv.weight", conv.weight)
        x = self.node(
            "Conv",
            f"{name}.conv",
            x,
            weight,
            kernel_shape=conv.kernel_size,
            strides=conv.stride,
            pads=(1, 1, 1, 1),
        )
        statistics = (
            ("weight", norm.weight),
            ("bias", norm.bias),
            ("mean", norm.running_mean),
            ("var", norm.running_var),
        )
        values = [self.tensor(f"{name}.norm.{n}", v) for n, v in statistics if v is not None]
        return self.node("BatchNormalization", f"{name}.norm", x, *values, epsilon=norm.eps)

    def residual(self, name: str, block: Residual, x: str) -> str:
        y = self.node(
            "Relu", f"{name}.first.relu", self.convolution(f"{name}.first", block.first, x)
        )
        y = self.convolution(f"{name}.second", block.second, y)
        return self.node("Relu", f"{name}.relu", self.node("Add", f"{name}.add", x, y))

    def model(self) -> onnx.ModelProto:
        """Return the checked model: opset 17, batch left open."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
        graph = helper.make_graph(
            self.nodes, "fashion_mnist", [image], [logits], initializer=self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model
