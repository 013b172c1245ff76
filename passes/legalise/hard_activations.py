"""hard_activations: HardSwish and HardSigmoid become scales, a Clip and a product.

Before:  HardSwish(x)                         HardSigmoid<alpha, beta>(x)
After:   Mul(Mul(x, Clip(Add(x, 3), 0, 6)), 1/6)   Clip(Add(Mul(x, alpha), beta), 0, 1)
What a DLA has in place of what it has not: a scale, a clipped ReLU, a product. Exact but for
rounding. Refuses nothing; float16, float32 and float64 keep their type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from edgecc.graph import add_initializer
from edgecc.rewrite import Decision, Pass, Room, replace


@dataclass(frozen=True)
class HardActivations(Pass):
    """Hard activations become clips."""

    name: ClassVar[str] = "hard_activations"
    room: ClassVar[Room] = "legalise"

    def run(self, model: ir.Model) -> list[Decision]:
        """Replace every HardSwish and HardSigmoid of the main graph."""
        by_attributes = model.opset_imports.get("", 0) < 11
        decisions = []
        for node in list(model.graph):
            if node.domain != "" or node.op_type not in ("HardSwish", "HardSigmoid"):
                continue
            write = _Writer(node, by_attributes)
            x = node.inputs[0]
            assert x is not None  # the checker has seen to it
            if node.op_type == "HardSwish":
                clipped = write.clip(write.add("Add", x, 3.0), 6.0)
                write.add("Mul", write.node("Mul", [x, clipped]), 1 / 6)
            else:
                alpha = node.attributes.get_float("alpha", 0.2)
                beta = node.attributes.get_float("beta", 0.5)
                write.clip(write.add("Add", write.add("Mul", x, alpha), beta), 1.0)
            made = tuple(each.name or "" for each in write.made)
            name = node.name or node.outputs[0].name or ""
            decisions.append(Decision(name, self.name, made=made))
            replace(node, write.made[-1].outputs[0], write.made)
        return decisions


class _Writer:
    """Makes the nodes that stand for one."""

    def __init__(self, node: ir.Node, by_attributes: bool) -> None:
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        self.made: list[ir.Node] = []
        self._graph, self._like, self._by_attributes = graph, node.outputs[0], by_attributes
        self._stem = node.name or node.outputs[0].name
        dtype = node.outputs[0].dtype or ir.DataType.FLOAT
        self._dtype: Any = dtype.numpy()

    def node(
        self, kind: str, inputs: list[ir.Value], attributes: dict[str, float] | None = None
    ) -> ir.Value:
        """Add a node."""
        name = f"{self._stem}.hard{len(self.made)}"
        self.made.append(ir.node(kind, inputs, attributes=attributes or {}, name=name))
        value: ir.Value = self.made[-1].outputs[0]
        value.name, value.type = f"{name}.out", self._like.type
        value.shape = self._like.shape
        return value

    def add(self, kind: str, x: ir.Value, number: float) -> ir.Value:
        """Add a node that takes a number as well."""
        return self.node(kind, [x, self._constant(number)])

    def clip(self, x: ir.Value, most: float) -> ir.Value:
        """Add a Clip from 0 to `most`."""
        if self._by_attributes:
            return self.node("Clip", [x], {"min": 0.0, "max": most})
        return self.node("Clip", [x, self._constant(0.0), self._constant(most)])

    def _constant(self, number: float) -> ir.Value:
        name = f"{self._stem}.hard{len(self.made)}.value"
        return add_initializer(self._graph, name, np.asarray(number, self._dtype))
