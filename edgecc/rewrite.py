"""What a graph rewrite is: a frozen dataclass whose fields are its options.

`Pass` runs on a whole model. `ConvRewrite` replaces convolutions one by one: a subclass says how
one convolution is rewritten, and this file does the graph surgery and the reporting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy.typing as npt
import onnx_ir as ir

from edgecc.conv import Conv, Refusal, constant, is_convolution, nested_convolutions, read
from edgecc.graph import add_initializer, take_over

Room = Literal["prepare", "decompose", "legalise"]
ORIGIN = "edgecc.origin"
"""Node metadata: the convolution of the prepared model that a node came from."""
MADE_BY = "edgecc.pass"
"""Node metadata: the pass, with its options, that made a node."""


@dataclass(frozen=True)
class Decision:
    """What a pass did with one node, or why it did not."""

    node: str
    by: str
    """The name of the pass."""
    options: dict[str, Any] | None = None
    """The options that were applied, none of them left open; None where nothing was."""
    refusal: str | None = None
    note: str | None = None
    """What was done, where the name of the pass does not say it."""
    error: float | None = None
    """|W - W'|^2 / |W|^2 of the weights, 0 is exact."""
    made: tuple[str, ...] = ()
    """The names of the nodes that stand in its place."""

    @property
    def applied(self) -> bool:
        """Whether the node was rewritten."""
        return self.refusal is None


@dataclass(frozen=True)
class Pass(ABC):
    """A rewrite of a model, in place."""

    name: ClassVar[str]
    room: ClassVar[Room]
    exact: ClassVar[bool] = True
    """Whether the model computes the same afterwards, but for rounding."""

    @abstractmethod
    def run(self, model: ir.Model) -> list[Decision]:
        """Rewrite `model` and report every node that was, or could have been, rewritten."""

    def options(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        values = ((f, getattr(self, f.name)) for f in fields(self))
        return {f.name: value for f, value in values if value != f.default}

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options().items())
        return f"{self.name}({options})" if options else self.name


@dataclass(frozen=True)
class Fit:
    """The rewrite of one convolution with every option settled."""

    rewrite: ConvRewrite
    error: float


@dataclass(frozen=True)
class ConvRewrite(Pass):
    """A rewrite of single convolutions into sequences of cheaper ones."""

    room: ClassVar[Room] = "decompose"
    exact: ClassVar[bool] = False

    @abstractmethod
    def fit(self, conv: Conv) -> Fit | Refusal:
        """Settle the options for `conv` (a rank for an energy), or refuse it."""

    @abstractmethod
    def rewrite(self, conv: Conv, x: ir.Value, build: Builder) -> ir.Value:
        """Return the output of the operators that replace `conv` on its input `x`.

        Called on what `fit` returned.
        """

    def run(self, model: ir.Model) -> list[Decision]:
        """Rewrite every convolution of the main graph that `fit` takes."""
        found = [node for node in model.graph if is_convolution(node)]
        decisions = [self.apply(node)[0] for node in found]
        return decisions + refuse_nested(model, self.name)

    def apply(self, node: ir.Node) -> tuple[Decision, list[ir.Node]]:
        """Rewrite one convolution; return the decision and the nodes that replaced it."""
        name = node.name or ""
        conv = read(node)
        fit = conv if isinstance(conv, Refusal) else self.fit(conv)
        if isinstance(fit, Refusal) or isinstance(conv, Refusal):
            return Decision(name, self.name, refusal=str(fit)), []
        build = Builder(node, made_by=str(fit.rewrite))
        x = node.inputs[0]
        assert x is not None  # the checker has seen to it
        result = fit.rewrite.rewrite(conv, x, build)
        assert node.graph is not None
        node.graph.insert_before(node, build.nodes)
        take_over(node.outputs[0], result)
        made = tuple(made.name or "" for made in build.nodes)
        options = fit.rewrite.options()
        return Decision(name, self.name, options, error=fit.error, made=made), build.nodes


def refuse_nested(model: ir.Model, by: str) -> list[Decision]:
    """Return the refusals of the convolutions inside subgraphs."""
    reason = "it stands inside the subgraph of an If, Loop or Scan"
    return [Decision(node.name or "", by, refusal=reason) for node in nested_convolutions(model)]


class Builder:
    """Makes the nodes that take a convolution's place, named and stamped after it."""

    def __init__(self, node: ir.Node, *, made_by: str) -> None:
        self.nodes: list[ir.Node] = []
        self._replaced = node
        root = node.metadata_props.get(ORIGIN, node.name or "")
        self._stamp = {ORIGIN: root, MADE_BY: made_by}
        self._names = _all_names(node)
        weight = constant(node.inputs[1])
        self._dtype = None if weight is None else weight.dtype

    def conv(
        self,
        x: ir.Value,
        weight: npt.NDArray[Any],
        bias: npt.NDArray[Any] | None = None,
        *,
        like: Conv | None = None,
        groups: int = 1,
    ) -> ir.Value:
        """Add a Conv with `weight` (O, I/G, *kernel), stored in the type of the one replaced.

        It takes strides, pads and dilations of `like`; without, it is a plain pointwise one.
        """
        spatial = weight.ndim - 2
        name = self._fresh("conv")
        inputs = [x, self._initializer(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self._initializer(f"{name}.bias", bias))
        attributes = {
            "kernel_shape": list(weight.shape[2:]),
            "strides": list(like.strides if like else (1,) * spatial),
            "pads": list(like.pads if like else (0,) * 2 * spatial),
            "dilations": list(like.dilations if like else (1,) * spatial),
            "group": groups,
        }
        return self._add("Conv", inputs, attributes, name)

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
        return add_initializer(graph, name, array.astype(self._dtype))

    def _fresh(self, kind: str) -> str:
        stem = f"{self._replaced.name}.{kind}"
        number = len(self.nodes)
        while any(
            f"{stem}{number}{end}" in self._names for end in ("", ".out", ".weight", ".bias")
        ):
            number += 1
        self._names.add(f"{stem}{number}")
        return f"{stem}{number}"


def _all_names(node: ir.Node) -> set[str | None]:
    """The names of all nodes and values of the graph that `node` stands in, subgraphs included."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    names = {value.name for value in graph.inputs} | set(graph.initializers)
    for each in graph.all_nodes():
        names |= {each.name, *(value.name for value in each.outputs)}
    return names
