"""What a correction sees of the graph around a node, and how it writes new nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from targets.tvm.refusal import NotInTvmError

MOST_NUMBERS = 64  # in a constant that a correction may want to look into


@dataclass(frozen=True)
class Facts:
    """What a correction may know of the graph around a node."""

    opset: int
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, int]
    constants: dict[str, npt.NDArray[Any]]

    @classmethod
    def of_model(cls, model: onnx.ModelProto, opset: int) -> Facts:
        """Collect them; `model` has gone through shape inference."""
        graph = model.graph
        tensors = {
            value.name: value.type.tensor_type
            for value in [*graph.value_info, *graph.input, *graph.output]
        }
        constants = {weight.name: weight for weight in graph.initializer}
        constants |= {
            node.output[0]: attribute.t
            for node in graph.node
            for attribute in node.attribute
            if node.op_type == "Constant" and attribute.name == "value"
        }
        small = {
            name: numpy_helper.to_array(weight)
            for name, weight in constants.items()
            if np.prod(weight.dims) <= MOST_NUMBERS
        }
        shapes = {
            name: tuple(size.dim_value for size in tensor.shape.dim)
            for name, tensor in tensors.items()
            if tensor.HasField("shape") and all(s.HasField("dim_value") for s in tensor.shape.dim)
        }
        types = {name: tensor.elem_type for name, tensor in tensors.items()}
        shapes |= {name: tuple(weight.dims) for name, weight in constants.items()}
        types |= {name: weight.data_type for name, weight in constants.items()}
        return cls(opset, shapes, types, small)

    def shape(self, node: NodeProto, name: str) -> tuple[int, ...]:
        """Return a tensor's sizes. Errors: `NotInTvmError` where they are not known."""
        if name not in self.shapes:
            raise NotInTvmError(
                f"{node.op_type} '{node.name}': the shape of '{name}' is not static",
                nodes=[node.name],
            )
        return self.shapes[name]

    def constant(self, node: NodeProto, index: int) -> npt.NDArray[Any] | None:
        """Return an optional input; None if left out. Errors: `NotInTvmError` if computed."""
        if len(node.input) <= index or not node.input[index]:
            return None
        if node.input[index] not in self.constants:
            raise NotInTvmError(
                f"{node.op_type} '{node.name}': its input '{node.input[index]}' is not a constant",
                nodes=[node.name],
            )
        return self.constants[node.input[index]]


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values, strings decoded."""
    values = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


class NodeChain:
    """New nodes in place of one: they carry its name, the last writes its output."""

    def __init__(self, node: NodeProto) -> None:
        self.node = node
        self.nodes: list[NodeProto] = []

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        name = f"{self.node.name or self.node.output[0]}/{len(self.nodes)}"
        new = helper.make_node(kind, inputs, [name], name=name, **attributes)
        self.nodes.append(new)
        return name

    def constant(self, array: npt.NDArray[Any]) -> str:
        """Append a constant and return its name."""
        return self.add("Constant", [], value=numpy_helper.from_array(np.ascontiguousarray(array)))

    def done(self) -> list[NodeProto]:
        """Let the last node write what the replaced node wrote; return all of them."""
        self.nodes[-1].output[0] = self.node.output[0]
        return self.nodes


def changed(node: NodeProto, drop: tuple[str, ...] = (), **attributes: Any) -> NodeProto:
    """Return `node` without the attributes `drop` and with others set."""
    kept = {k: v for k, v in attributes_of(node).items() if k not in drop}
    return helper.make_node(
        node.op_type, node.input, node.output, name=node.name, **{**kept, **attributes}
    )
