"""Surgery on onnx-ir graphs that several passes need, each done in one place."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx
import onnx_ir as ir

NEWEST_IR = 10
"""The newest IR version (ONNX 1.16) that edgecc writes: nothing that a network computes needs more,
and older runtimes still read it."""
LIGHT_BYTES = 1024
"""Initialisers up to this size may be shapes, axes or pads, whose values ONNX's checks need."""


def bitwidth(dtype: ir.DataType | int | None) -> int | None:
    """Return the bits of one element; None for strings, and for what is no type."""
    try:
        return ir.DataType(dtype).bitwidth if dtype is not None else None
    except (ValueError, TypeError):
        return None


def all_names(graph: ir.Graph) -> set[str]:
    """Return the names of all nodes and values of `graph`, its subgraphs included."""
    names: set[str | None] = set()
    for each in (graph, *graph.subgraphs()):
        names.update(value.name for value in each.inputs)
        names.update(each.initializers)
    for node in graph.all_nodes():
        names.add(node.name)
        names.update(value.name for value in node.outputs)
    return {name for name in names if name}


def fresh_name(name: str, names: set[str]) -> str:
    """Return `name`, or with a number behind where `names` has it; they have it from now on."""
    number, fresh = 0, name
    while fresh in names:
        number += 1
        fresh = f"{name}{number}"
    names.add(fresh)
    return fresh


def add_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """Add a constant called `name`, or with a number behind where the graph has that name."""
    number, fresh = 0, name
    while fresh in graph.initializers:
        number += 1
        fresh = f"{name}.{number}"
    tensor = ir.tensor(array, name=fresh)
    value = ir.Value(
        name=fresh,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def drop_initializer(graph: ir.Graph, value: ir.Value | None) -> None:
    """Remove a constant that nothing reads any more."""
    if value is None or not value.is_initializer() or value.uses() or value.is_graph_output():
        return
    graph.initializers.pop(value.name or "", None)


def take_over(old: ir.Value, new: ir.Value) -> None:
    """Let `new` stand for `old`: its readers, its place among the outputs, its name and type.

    The node that made `old` is left without readers, and removed.
    """
    node = old.producer()
    assert node is not None
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    inputs = list(node.inputs)
    name, shape, kind = old.name, old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    new.name, new.shape, new.type = name, shape, kind
    for value in inputs:
        drop_initializer(graph, value)


def without_weights(model: ir.Model) -> onnx.ModelProto:
    """Return the model with its large initialisers as inputs: what fits through ONNX's own tools,
    which take no message above 2 GB.
    """
    light = model.clone()
    for value in list(light.graph.initializers.values()):
        tensor = value.const_value
        assert tensor is not None  # validated at load
        value.type = ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(list(tensor.shape.numpy()))
        if tensor.nbytes > LIGHT_BYTES:
            light.graph.initializers.pop(value.name or "")
            if not value.is_graph_input():
                light.graph.inputs.append(value)
    return ir.to_proto(light)
