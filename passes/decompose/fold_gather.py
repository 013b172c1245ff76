"""fold_gather: choices and orders of channels go into the weights beside them.

Before:  Conv(W, b) -> Relu -> Gather(i) -> Conv(V)
After:   Conv(W[i], b[i]) -> Relu -> Conv(V)              channels that nobody reads are not made
Before:  Gather(i) -> Relu -> Conv(V)                     i an order of all channels
After:   Relu -> Conv(V[:, inverse of i])
Everything that shares the channels moves with them (passes/decompose/coupled.py): activations,
pooling, depthwise convolutions, sums and products with their other operands, so whole residual
streams; other Gathers too, so that two in a row become one. A Gather that repeats channels stays,
but the channels that no Gather reads are no longer made. Run it after the decompositions.
Exact. Refuses a Gather where the network's inputs or outputs, a grouped convolution or an operator
    that it does not know share the channels on both sides of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal
from edgecc.graph import drop_initializer, take_over
from edgecc.rewrite import Decision, Pass, Room
from passes.decompose.coupled import Order, coupled
from passes.decompose.roles import gathered, width
from passes.prepare.infer_shapes import InferShapes

SHOWN = 3
"""So many names of nodes in a note."""


@dataclass(frozen=True)
class FoldGather(Pass):
    """Choices and orders of channels go into the weights beside them."""

    name: ClassVar[str] = "fold_gather"
    room: ClassVar[Room] = "decompose"

    def run(self, model: ir.Model) -> list[Decision]:
        """Fold until nothing moves; one decision for each Gather of channels."""
        if not any(node.op_type == "Gather" for node in model.graph):
            return []
        InferShapes().run(model)
        notes: dict[str, str | Refusal] = {}
        moved = True
        while moved:
            moved = False
            for node in [node for node in model.graph if gathered(node) is not None]:
                outcome = _fold(node)
                moved = moved or isinstance(outcome, str)
                name = node.name or node.outputs[0].name or ""
                before = notes.get(name)
                if isinstance(outcome, str) and isinstance(before, str):
                    notes[name] = f"{before}; {outcome}"
                elif isinstance(outcome, str) or before is None:
                    notes[name] = outcome
        return [
            Decision(name, self.name, refusal=note.reason)
            if isinstance(note, Refusal)
            else Decision(name, self.name, note=note)
            for name, note in notes.items()
        ]


def _fold(node: ir.Node) -> str | Refusal:
    """Fold a Gather into what makes its channels or reads them; return what was done."""
    index, x, y = gathered(node), node.inputs[0], node.outputs[0]
    assert index is not None
    assert x is not None
    channels = width(x) or 0
    if np.array_equal(index, np.arange(channels)):
        return _take_out(node) or "removed: it kept the order"
    before = coupled(x)
    if isinstance(before, Refusal):
        refusal = before
    elif node in before.makers:
        refusal = Refusal("what it reads and what it makes are added up")
    elif len(used := before.used()) < channels:
        changed = before.rearrange(used)
        note = f"{channels - len(used)} of {channels} channels are no longer made"
        return f"{note}; {_folded(node, changed)}" if np.array_equal(index, used) else note
    elif _is_order(index, channels):
        return _folded(node, before.rearrange(index))
    else:
        by = "other Gathers read" if before.whole is None else f"{before.whole} reads"
        refusal = Refusal(f"{by} channels that it leaves out")
        if len(np.unique(index)) == channels:
            refusal = Refusal("it takes every channel, some more than once")
    if not _is_order(index, channels):
        return refusal
    behind = coupled(y)
    if isinstance(behind, Refusal):
        return Refusal(f"{refusal}; {behind}")
    if node in behind.readers:
        return refusal
    return _folded(node, behind.rearrange(np.argsort(index)))


def _folded(node: ir.Node, changed: list[str]) -> str:
    """Take out a Gather that keeps the order by now; return what was done."""
    _take_out(node)
    return f"folded into {_few([name for name in changed if name != node.name])}"


def _take_out(node: ir.Node) -> Refusal | None:
    """Remove a Gather that keeps the order; an output of the network keeps its name."""
    x, y, index = node.inputs[0], node.outputs[0], node.inputs[1]
    assert x is not None
    if y.is_graph_output():
        if x.producer() is None or x.is_graph_output():
            return Refusal("it stands between an input or output and an output")
        take_over(y, x)
        return None
    ir.convenience.replace_all_uses_with(y, x)
    assert isinstance(node.graph, ir.Graph)
    graph = node.graph
    graph.remove(node, safe=True)
    drop_initializer(graph, index)
    return None


def _is_order(index: Order, channels: int) -> bool:
    """Whether every channel is taken once."""
    return np.array_equal(np.sort(index), np.arange(channels))


def _few(names: list[str]) -> str:
    """The first names of a list."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
