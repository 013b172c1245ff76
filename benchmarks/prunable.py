"""Parts of an ONNX graph that Torch-Pruning cannot follow become parts that it can."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def flattened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Reshape to a shape computed from the batch becomes Flatten, and what computed it goes."""
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] not in weights:
            node = helper.make_node("Flatten", node.input[:1], node.output, node.name, axis=1)
        nodes.append(node)
    needed = {value.name for value in model.graph.output}
    for node in reversed(nodes):
        if needed & set(node.output):
            needed.update(node.input)
    return rebuilt(model, [node for node in nodes if needed & set(node.output)], [])


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Padding by empty channels becomes a 1x1 convolution, which Torch-Pruning can follow."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    nodes, tensors = [], []
    for node in model.graph.node:
        pads = constants[node.input[1]] if node.op_type == "Pad" else np.zeros(8)
        if pads[1] or pads[5]:
            channels = width(makers, constants, node.input[0])
            weight = np.eye(channels, dtype=np.float32)[:, :, None, None]
            weight = np.pad(weight, [(pads[1], pads[5]), (0, 0), (0, 0), (0, 0)])
            tensors.append(numpy_helper.from_array(weight, f"{node.output[0]}.weight"))
            inputs = [node.input[0], tensors[-1].name]
            node = helper.make_node("Conv", inputs, node.output, node.name, kernel_shape=[1, 1])
        nodes.append(node)
    return rebuilt(model, nodes, tensors)


def width(makers: dict[str, onnx.NodeProto], constants: dict[str, np.ndarray], name: str) -> int:
    """The channels of a value: those of the nearest convolution before it."""
    node = makers[name]
    if node.op_type == "Conv":
        return len(constants[node.input[1]])
    return width(makers, constants, node.input[0])


def rebuilt(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]
) -> onnx.ModelProto:
    """Return `model` with other nodes and more weights."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    del other.graph.node[:]
    other.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del other.graph.initializer[:]
    other.graph.initializer.extend([*kept, *tensors])
    return other
