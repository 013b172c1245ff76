"""How a rewrite says what stands in a convolution's place, whoever listens.

A rewrite describes its operators to a `Builder`. `GraphBuilder` makes nodes of them;
`edgecc.layers.Sketch` only notes their sizes, for prices before anything is rewritten.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.conv import Array, Window, constant
from edgecc.graph import add_initializer, all_names

ORIGIN = "edgecc.origin"
"""Node metadata: the convolution of the prepared model that a node came from."""
MADE_BY = "edgecc.pass"
"""Node metadata: the pass, with its options, that made a node."""
V = TypeVar("V")
"""A value of the network: for a graph the graph's, for a sketch the sizes."""


class Builder(ABC, Generic[V]):
    """Takes the operators that replace a convolution, in order."""

    @abstractmethod
    def conv(
        self,
        x: V,
        weight: Array,
        bias: Array | None = None,
        *,
        window: Window | None = None,
        groups: int = 1,
    ) -> V:
        """Add a Conv with `weight` (O, I/G, *kernel); without a window it is a plain pointwise
        one. A weight of two dimensions is a Gemm.
        """

    @abstractmethod
    def gather(self, x: V, channels: npt.NDArray[Any]) -> V:
        """Add a choice of channels (K,), in that order; one may be chosen more than once."""

    @abstractmethod
    def add(self, x: V, y: V) -> V:
        """Add the sum of two values of one size."""


class GraphBuilder(Builder[ir.Value]):
    """Makes the nodes that take a convolution's place, named and stamped after it.

    Weights are stored in the type of the one replaced.
    """

    def __init__(self, node: ir.Node, *, made_by: str) -> None:
        self.nodes: list[ir.Node] = []
        self._replaced = node
        root = node.metadata_props.get(ORIGIN, node.name or "")
        self._stamp = {ORIGIN: root, MADE_BY: made_by}
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        self._names = all_names(graph)
        weight = constant(node.inputs[1])
        self._dtype = None if weight is None else weight.dtype

    def conv(
        self,
        x: ir.Value,
        weight: Array,
        bias: Array | None = None,
        *,
        window: Window | None = None,
        groups: int = 1,
    ) -> ir.Value:
        """Add a Conv or Gemm node."""
        spatial = weight.ndim - 2
        window = window or Window.pointwise(spatial)
        name = self._fresh("conv")
        inputs = [x, self._initializer(f"{name}.weight", weight.astype(self._dtype))]
        if bias is not None:
            inputs.append(self._initializer(f"{name}.bias", bias.astype(self._dtype)))
        if not spatial:
            return self._add("Gemm", inputs, {"transB": 1}, name)
        attributes = {
            "kernel_shape": list(weight.shape[2:]),
            "strides": list(window.strides),
            "pads": list(window.pads),
            "dilations": list(window.dilations),
            "group": groups,
        }
        return self._add("Conv", inputs, attributes, name)

    def gather(self, x: ir.Value, channels: npt.NDArray[Any]) -> ir.Value:
        """Add a Gather along the channels."""
        name = self._fresh("gather")
        indices = self._initializer(f"{name}.channels", channels.astype(np.int64))
        return self._add("Gather", [x, indices], {"axis": 1}, name)

    def add(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Add an Add node."""
        return self._add("Add", [x, y], {}, self._fresh("add"))

    def _add(
        self, kind: str, inputs: Sequence[ir.Value], attributes: dict[str, Any], name: str
    ) -> ir.Value:
        node = ir.node(kind, inputs, attributes=attributes, name=name)
        node.metadata_props.update(self._stamp)
        output: ir.Value = node.outputs[0]
        output.name = f"{name}.out"
        output.type = inputs[0].type
        self.nodes.append(node)
        return output

    def _initializer(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        graph = self._replaced.graph
        assert isinstance(graph, ir.Graph)
        return add_initializer(graph, name, array)

    def _fresh(self, kind: str) -> str:
        stem = f"{self._replaced.name}.{kind}"
        ends = ("", ".out", ".weight", ".bias", ".channels")
        number = len(self.nodes)
        while any(f"{stem}{number}{end}" in self._names for end in ends):
            number += 1
        self._names.add(f"{stem}{number}")
        return f"{stem}{number}"
