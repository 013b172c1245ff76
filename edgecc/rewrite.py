"""What a graph rewrite is: a frozen dataclass whose fields are its options.

`Pass` runs on a whole model. `ConvRewrite` replaces convolutions one by one: a subclass says how
one convolution is rewritten, and this file does the graph surgery and the reporting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import onnx_ir as ir

from edgecc.builder import Builder, GraphBuilder, V
from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal, is_convolution, nested_convolutions, read
from edgecc.graph import take_over
from edgecc.layers import Layer, Sizes, Sketch

if TYPE_CHECKING:
    from typing_extensions import Self

Room = Literal["prepare", "decompose", "legalise"]


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
    """What is lost of the output's energy under the statistics (of the weights' without any),
    0 is exact."""
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


Factors = tuple[Array, ...]
"""What a solver leaves: the small weights, or channel numbers, that the operators are made of."""
MEANS = "edgecc.means"
"""Graph metadata, in memory alone: by the name of a value, the mean of each of its channels (C,),
where the model's own BatchNorm told it before it was folded (METHODS A.6)."""
EXACT = 1e-12
"""Errors below this are rounding."""


@dataclass(frozen=True, eq=False)
class Solved:
    """The best that a family finds for one group of a convolution."""

    weight: Array
    """(n, d): the filters that the factors multiply out to."""
    factors: Factors


@dataclass(frozen=True, eq=False)
class Projection:
    """A convolution's place taken by a family: what it computes, and how far off."""

    weight: Array
    """(G, O/G, d)."""
    factors: Factors
    """Each with the groups in front."""
    error: float
    """tr((W-W') S (W-W')^T) / tr(W S W^T), 0 is exact."""


@dataclass(frozen=True)
class ConvRewrite(Pass):
    """A rewrite of single convolutions into sequences of cheaper ones: a family of weights W'
    that those can realise, and the member of it that is nearest under the statistics.

    All groups of a convolution share the options; each is solved by itself.
    """

    room: ClassVar[Room] = "decompose"
    exact: ClassVar[bool] = False

    @abstractmethod
    def refuse(self, conv: Conv) -> Refusal | None:
        """Say why this rewrite, or its options, do not fit `conv`; None where they do."""

    def settle(self, conv: Conv, statistics: Statistics) -> Self | Refusal:
        """Return the rewrite with every option settled for `conv` (a rank for an energy)."""
        return self

    @abstractmethod
    def choices(self, conv: Conv, granule: int) -> Sequence[Self]:
        """Return settled rewrites that save multiply-adds, the cheapest first, for a planner.

        Ranks and widths are multiples of `granule`, what the target computes in one go. About
        a dozen at most.
        """

    def effort(self, conv: Conv) -> float:
        """Return roughly the multiply-adds that trying the choices takes, where that is much."""
        return 0.0

    @abstractmethod
    def shapes(self, conv: Conv) -> Sequence[tuple[int, ...]]:
        """Return the shapes of the factors of one group, settled."""

    @abstractmethod
    def solve(self, block: Block) -> Solved:
        """Return the member of the family that is nearest to the group's filters, settled."""

    def solve_again(self, block: Block, before: Factors) -> Solved:
        """Do as `solve` for other filters, where the family chooses something (channels, parts)
        with the choice in `before`, which saves the search; overridden by those that do.
        """
        return self.solve(block)

    @abstractmethod
    def lower(self, conv: Conv, factors: Factors, bias: Array | None, x: V, build: Builder[V]) -> V:
        """Return the output of the operators that replace `conv` on its input `x`.

        `factors` have the groups in front: (G, *shape). The last operator takes the `bias` (O,).
        """

    def errors(self, conv: Conv, statistics: Statistics, choices: Sequence[Self]) -> list[float]:
        """Return the error of each choice; overridden where one decomposition gives them all."""
        return [choice.project(conv, statistics).error for choice in choices]

    def project(
        self, conv: Conv, statistics: Statistics, like: Projection | None = None
    ) -> Projection:
        """Solve every group of `conv`, settled; `like` another, where the family chooses."""
        blocks = list(statistics.blocks(conv))
        if like is None:
            solved = [self.solve(block) for block in blocks]
        else:
            before = zip(*like.factors, strict=True)
            solved = [self.solve_again(b, f) for b, f in zip(blocks, before, strict=True)]
        lost = sum(b.energy(b.weight - s.weight) for b, s in zip(blocks, solved, strict=True))
        energy = sum(block.energy(block.weight) for block in blocks)
        error = lost / energy if energy > 0 else 0.0
        if (scales := statistics.scales(conv)) is not None:
            solved = [self._scaled(s, 1 / scale) for s, scale in zip(solved, scales, strict=True)]
        return Projection(
            weight=np.stack([s.weight for s in solved]),
            factors=tuple(map(np.stack, zip(*(s.factors for s in solved), strict=True))),
            error=error if error > EXACT else 0.0,
        )

    def _scaled(self, solved: Solved, scale: Array) -> Solved:
        return Solved(solved.weight * scale[:, None], self.scaled(solved.factors, scale))

    def scaled(self, factors: Factors, scale: Array) -> Factors:
        """Return the factors of one group that make filters `scale` (n,) times as large.

        Here the last of them holds the outputs in front; overridden where that is not so.
        """
        *others, last = factors
        return (*others, rows_scaled(last, scale))

    def layers(self, conv: Conv, sizes: Sizes) -> list[Layer]:
        """Return the operators that would replace `conv` on inputs of these spatial sizes."""
        sketch = Sketch()
        blank = [np.broadcast_to(np.int8(0), (conv.groups, *s)) for s in self.shapes(conv)]
        self.lower(conv, tuple(blank), None, (conv.in_channels, *sizes), sketch)
        return sketch.layers

    def run(self, model: ir.Model) -> list[Decision]:
        """Rewrite every convolution of the main graph that this takes, from its weights alone."""
        found = [node for node in model.graph if is_convolution(node)]
        decisions = [self.apply(node)[0] for node in found]
        return decisions + refuse_nested(model, self.name)

    def apply(
        self,
        node: ir.Node,
        conv: Conv | None = None,
        statistics: Statistics | None = None,
        found: Projection | None = None,
    ) -> tuple[Decision, list[ir.Node]]:
        """Rewrite one convolution; return the decision and the nodes that replaced it.

        `conv` is what it should compute, where that is not what stands in the graph; `found` what
        takes its place, where that is known.
        """
        name = node.name or ""
        wanted = conv or read(node)
        if isinstance(wanted, Refusal):
            return Decision(name, self.name, refusal=str(wanted)), []
        known = statistics or Statistics.identity(wanted, _told_mean(node, wanted))
        settled = self.refuse(wanted) or self.settle(wanted, known)
        if isinstance(settled, Refusal):
            return Decision(name, self.name, refusal=str(settled)), []
        found = found or settled.project(wanted, known)
        build = GraphBuilder(node, made_by=str(settled))
        x = node.inputs[0]
        assert x is not None  # the checker has seen to it
        bias = corrected_bias(wanted, found.weight, known)
        replace(node, settled.lower(wanted, found.factors, bias, x, build), build.nodes)
        made = tuple(made.name or "" for made in build.nodes)
        decision = Decision(name, self.name, settled.options(), error=found.error, made=made)
        return decision, build.nodes


def rows_scaled(factor: Array, scale: Array) -> Array:
    """Return a factor (n, ...) with its rows multiplied by `scale` (n,)."""
    return factor * scale.reshape(-1, *(1,) * (factor.ndim - 1))


def _told_mean(node: ir.Node, conv: Conv) -> Array | None:
    """The means of a convolution's input channels (I,), where the model told them."""
    graph, x = node.graph, node.inputs[0]
    found = graph.meta.get(MEANS, {}).get(x.name) if graph is not None and x is not None else None
    return found if found is not None and len(found) == conv.in_channels else None


def corrected_bias(conv: Conv, weight: Array, statistics: Statistics) -> Array | None:
    """Return the bias (O,) that makes up for the mean of what is lost: `b + (W - W') mu`.

    `weight` (G, O/G, d) is W'. None where there is none and none is needed.
    """
    if not statistics.mean.any():
        return conv.bias
    lost: Array = np.einsum("gnd,gd->gn", conv.matrix() - weight, statistics.mean).ravel()
    return lost if conv.bias is None else conv.bias + lost


def replace(node: ir.Node, result: ir.Value, made: Sequence[ir.Node]) -> None:
    """Put the nodes `made`, whose outcome is `result`, where `node` stood."""
    assert node.graph is not None
    node.graph.insert_before(node, made)
    take_over(node.outputs[0], result)


def refuse_nested(model: ir.Model, by: str) -> list[Decision]:
    """Return the refusals of the convolutions inside subgraphs."""
    reason = "it stands inside the subgraph of an If, Loop or Scan"
    return [Decision(node.name or "", by, refusal=reason) for node in nested_convolutions(model)]
