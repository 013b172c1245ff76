"""The multiply-adds of an ONNX graph, and the shapes that they follow from."""

from __future__ import annotations

import math

import onnx


def multiply_adds(model: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, int]:
    """The multiply-adds of every Conv and Gemm at batch 1, by the name of its output."""
    sizes = shapes(model, shape)
    counts = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            size = sizes.get(node.output[0], []) if node.op_type == "Conv" else [1]
            if not size or 0 in size:
                raise ValueError(f"the shape of {node.output[0]} is not known")
            counts[node.output[0]] = math.prod(size[2:]) * math.prod(sizes[node.input[1]])
    return counts


def shapes(model: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, list[int]]:
    """The shape of every value, for one input of `shape` (N, C, H, W) at batch 1."""
    still = onnx.ModelProto()
    still.CopyFrom(model)
    for dim, size in zip(
        still.graph.input[0].type.tensor_type.shape.dim, (1, *shape[1:]), strict=True
    ):
        dim.dim_value = size
    for value in still.graph.output:
        value.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(still, strict_mode=True, data_prop=True).graph
    sizes = {tensor.name: list(tensor.dims) for tensor in found.initializer}
    for value in [*found.input, *found.value_info, *found.output]:
        sizes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return sizes
