"""remove_identities: operators that hand their input on unchanged are taken out.

Before:  Conv -> Dropout -> Identity -> Relu
After:   Conv -> Relu
Identity, Dropout (inference), Cast to the type it has, Pad by zero, Transpose that keeps the
order, Concat and Sum of one value, Reshape to the shape it has. Exact. Refuses one that stands
between an input (or another output) and an output: both names are the user's.
onnx-ir has such a pass for Identity; between two outputs it drops one of their names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from edgecc.conv import Refusal, constant, ints
from edgecc.graph import take_over
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class RemoveIdentities(Pass):
    """Dropout, Identity and other operators without effect go."""

    name: ClassVar[str] = "remove_identities"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Let the readers of every operator without effect read its input instead."""
        decisions = []
        for node in list(model.graph):
            if node.domain == "" and _has_no_effect(node):
                label = f"{node.op_type} {node.name or node.outputs[0].name}"
                refusal = _take_out(node)
                decisions.append(
                    Decision(label, self.name, note="removed", refusal=str(refusal or "") or None)
                )
        return decisions


def _take_out(node: ir.Node) -> Refusal | None:
    """Remove `node`; an output of the network keeps its name, which its maker then takes."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if not y.is_graph_output():
        ir.convenience.replace_all_uses_with(y, x)
        assert node.graph is not None
        node.graph.remove(node, safe=True)
        return None
    if x.is_graph_input() or x.is_initializer() or x.is_graph_output() or x.producer() is None:
        return Refusal("it stands between an input or output and an output")
    if x.producer().graph is not node.graph:  # type: ignore[union-attr]
        return Refusal("its input is made outside its graph")
    take_over(y, x)
    return None


def _has_no_effect(node: ir.Node) -> bool:
    test = _TESTS.get(node.op_type)
    return test is not None and node.inputs[0] is not None and test(node)


def _is_inference_dropout(node: ir.Node) -> bool:
    mask_used = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    training = node.inputs[2] if len(node.inputs) > 2 else None
    flag = constant(training)
    return not mask_used and (training is None or (flag is not None and not flag.any()))


def _keeps_type(node: ir.Node) -> bool:
    x = node.inputs[0]
    return x is not None and x.dtype is not None and x.dtype == node.attributes.get_int("to", -1)


def _keeps_order(node: ir.Node) -> bool:
    order = node.attributes.get("perm")
    return order is not None and list(order.as_ints()) == sorted(order.as_ints())


def _pads_nothing(node: ir.Node) -> bool:
    given = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    pads = ints(node, "pads", [1]) if given is None else given.tolist()
    return not any(pads)


def _keeps_shape(node: ir.Node) -> bool:
    x, y = node.inputs[0], node.outputs[0]
    return x is not None and x.shape is not None and x.shape.is_static() and x.shape == y.shape


_TESTS: dict[str, Callable[[ir.Node], bool]] = {
    "Identity": lambda node: True,
    "Dropout": _is_inference_dropout,
    "Cast": _keeps_type,
    "Transpose": _keeps_order,
    "Pad": _pads_nothing,
    "Reshape": _keeps_shape,
    "Flatten": _keeps_shape,
    "Concat": lambda node: len(node.inputs) == 1,
    "Sum": lambda node: len(node.inputs) == 1,
}
