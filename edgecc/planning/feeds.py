"""Which convolution alone feeds which: what one does not read, the other need not compute."""

from __future__ import annotations

import onnx_ir as ir

from edgecc.conv import is_convolution

PASSING = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSwish", "HardSigmoid", "Tanh", "Elu", "Identity"}
)
"""Operators that keep every channel to itself."""


def feeds(model: ir.Model) -> dict[str, str]:
    """Return by convolution the one whose output it alone reads, through activations at most."""
    found = {}
    for node in model.graph:
        if not is_convolution(node):
            continue
        value = node.inputs[0]
        while value is not None and len(value.uses()) == 1 and not value.is_graph_output():
            producer = value.producer()
            if producer is None:
                break
            if producer.op_type == "Conv" and producer.attributes.get_int("group", 1) == 1:
                found[node.name or ""] = producer.name or ""
                break
            value = producer.inputs[0] if producer.op_type in PASSING else None
    return found
