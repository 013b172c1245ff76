"""Q/DQ pairs moved from where onnxruntime's quantiser puts them to where TensorRT wants them."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from edgecc.graph import drop_initializer
from edgecc.quantise.placement import fused_into, quantised_from


def free_others(model: ir.Model, chosen: Collection[str]) -> None:
    """Let the nodes that are not quantised read what was there before the pairs."""
    for node in list(model.graph):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") or node.name in chosen:
            continue
        for index, value in enumerate(node.inputs):
            if (before := quantised_from(value)) is not None:
                _bypass(node, index, before)


def join_sums(model: ir.Model) -> None:
    """Take away the pair between a residual sum and the layer that it is fused with: of two, the
    later one.
    """
    places = {node: place for place, node in enumerate(model.graph)}
    for add in [node for node in model.graph if node.op_type == "Add"]:
        before = [quantised_from(value) for value in add.inputs]
        joined = [
            (places[made_by], index)
            for index, value in enumerate(before)
            if value is not None
            and fused_into(add, value)
            and (made_by := value.producer()) is not None
        ]
        if joined:
            index = max(joined)[1]
            _bypass(add, index, before[index])


def part_shared(model: ir.Model) -> None:
    """Give each reader of weights that several share a pair of its own."""
    for pair in [node for node in model.graph if node.op_type == "DequantizeLinear"]:
        held = pair.inputs[0]
        quantise = held.producer() if held is not None else None
        for number, use in enumerate(list(pair.outputs[0].uses())[1:]):
            if quantise is None or use.node is pair.outputs[0].consumers()[0]:
                continue
            before = quantise.inputs
            for kind in (quantise, pair):
                name, attributes = f"{kind.name}_{number}", list(kind.attributes.values())
                inputs = [before[0], *kind.inputs[1:]]
                made = ir.Node("", kind.op_type, inputs, attributes, name=name)
                made.outputs[0].name = f"{kind.outputs[0].name}_{number}"
                model.graph.insert_before(use.node, made)
                before = made.outputs
            use.node.replace_input_with(use.idx, before[0])


def _bypass(node: ir.Node, index: int, value: ir.Value | None) -> None:
    """Let `node` read `value` itself, and remove the pair that it read."""
    made = node.inputs[index]
    node.replace_input_with(index, value)
    while made is not None and made is not value and not made.uses():
        pair = made.producer()
        assert pair is not None
        graph = pair.graph
        assert isinstance(graph, ir.Graph)
        made, constants = pair.inputs[0], pair.inputs[1:]
        graph.remove(pair, safe=True)
        for unused in constants:
            drop_initializer(graph, unused)
