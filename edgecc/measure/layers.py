"""The operators of a bundle's model, by node, as a price table files them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgecc import bundle, catalog
from edgecc.conv import Window, ints
from edgecc.layers import Layer
from edgecc.model import load
from edgecc.shapes import Shape, fix

MATRIX = ("Conv", "Gemm", "ConvTranspose", "MatMul")
"""What takes the time of a network; the rest of a fused kernel rides along."""


@dataclass(frozen=True)
class Graph:
    """A model by names: what a profile's rows are matched against."""

    nodes: dict[str, str]
    """Operators by node."""
    inputs: dict[str, tuple[str, ...]]
    """By node, the nodes that it reads from."""
    producers: dict[str, str]
    """By value, the node that makes it."""
    layers: dict[str, Layer]
    """By node, what can be priced, of one sample."""
    batch: int

    @classmethod
    def of(cls, model: ir.Model, sizes: Mapping[str, Shape]) -> Graph:
        """Read a model at the given input sizes."""
        still = model.clone()
        fix(still, dict(sizes))
        catalog.infer_shapes(still)
        named = {node.name: node for node in still.graph if node.name}
        producers = {
            value.name: name
            for name, node in named.items()
            for value in node.outputs
            if value.name is not None
        }
        inputs = {
            name: tuple(
                producers[value.name]
                for value in node.inputs
                if value is not None and value.name in producers
            )
            for name, node in named.items()
        }
        layers = {name: layer for name, n in named.items() if (layer := _layer(n)) is not None}
        batch = next((shape[0] for shape in sizes.values() if shape), 1)
        nodes = {name: node.op_type for name, node in named.items()}
        return cls(nodes, inputs, producers, layers, batch)

    @classmethod
    def of_bundle(cls, folder: Path) -> Graph:
        """Read the model of a bundle. Errors: `edgecc.errors.ModelError`."""
        report, _ = bundle.read(folder)
        sizes = {name: tuple(shape) for name, shape in bundle.input_shapes(report).items()}
        return cls.of(load(folder / bundle.MODEL), sizes)


def _layer(node: ir.Node) -> Layer | None:
    """Return the operator with its sizes; None where it has no place in a price table."""
    shapes = [_shape(value) for value in node.inputs]
    y = _shape(node.outputs[0]) if node.outputs else None
    if y is None or not shapes or shapes[0] is None or len(y) < 2 or math.prod(y) == 0:
        return None
    x, one = shapes[0][1:], y[1:]
    match node.op_type:
        case "Conv" if len(shapes) > 1 and shapes[1] is not None:
            spatial = len(shapes[1]) - 2
            window = Window(
                tuple(ints(node, "strides", [1] * spatial)),
                tuple(ints(node, "pads", [0] * 2 * spatial)),
                tuple(ints(node, "dilations", [1] * spatial)),
            )
            return Layer("Conv", x, one, shapes[1], node.attributes.get_int("group", 1), window)
        case "Gemm" if len(x) == 1 and len(one) == 1:
            return Layer("Gemm", x, one, (one[0], x[0]), 1, Window((), (), ()))
        case "Gather" if node.attributes.get_int("axis", 0) == 1 and len(one) == len(x):
            return Layer("Gather", x, one)
        case "Add" if len(shapes) > 1 and shapes[1] == shapes[0]:
            return Layer("Add", x, x)
    return None


def _shape(value: ir.Value | None) -> Shape | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(size for size in value.shape if isinstance(size, int))
