"""Rewrites a network in order, each layer fitted to what the rewritten network really feeds it.

The target is always what the network put out before anything was rewritten: so each layer repairs
what those before it lost, and the last one before a residual sum repairs the shortcut too
(METHODS A.3). Layers that stay dense are re-fitted as well: it costs nothing at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from edgecc.calibration.collect import MOST_INPUTS
from edgecc.calibration.order import is_layer
from edgecc.calibration.relu import refine
from edgecc.calibration.replay import Replay
from edgecc.calibration.site import Site
from edgecc.calibration.targets import passed_of, rectified_of, sees_a_change, target_of
from edgecc.conv import Conv, Refusal, is_convolution, is_gemm, read
from edgecc.graph import add_initializer, drop_initializer
from edgecc.rewrite import ConvRewrite, Decision
from edgecc.target import Arrays

Chooser = Callable[[str, ConvRewrite | None], Sequence[ConvRewrite]]
"""Given the name of a convolution and the rewrite that made it (None: it is the network's own),
the rewrites to try, in order."""
BY = "refit"
WIDE = 1200
"""Behind layers that see more numbers than this a ReLU is not looked at: it would take minutes."""


class SequentialRefit:
    """Rewrites `model` in place, as `choose` says, over batches of calibration samples."""

    def __init__(
        self,
        model: ir.Model,
        feeds: Sequence[Arrays],
        choose: Chooser,
        scratch: Path,
        *,
        relu_aware: bool = True,
        tell: Callable[[str], None] = lambda name: None,
    ) -> None:
        model.graph.sort()
        self._model, self._choose, self._tell = model, choose, tell
        self._relu_aware = relu_aware
        self._replay = Replay(model, feeds, scratch)

    def run(self) -> list[Decision]:
        """Rewrite every convolution that one of its rewrites fits; re-fit all other layers.

        Errors: `edgecc.errors.ModelError` where onnxruntime cannot run a piece of the network.
        """
        convolutions = [node for node in self._model.graph if is_convolution(node)]
        found: dict[int, list[Decision]] = {}
        for node in self._replay.stops(is_layer):
            self._tell(node.name or "")
            found[id(node)] = self._visit(node)
        return [decision for node in convolutions for decision in found[id(node)]]

    def _visit(self, node: ir.Node) -> list[Decision]:
        """Rewrite or re-fit one of the network's own layers."""
        replay, name, y = self._replay, node.name or "", node.outputs[0]
        rewrites = self._choose(name, None) if is_convolution(node) else []
        conv = _fitted(node)
        if isinstance(conv, Refusal):
            if sees_a_change(replay, node):
                replay.follow([node], [y.name or ""])
            return [Decision(name, BY, refusal=str(conv))]
        targets = target_of(replay, node)
        passed = passed_of(replay, y) if rewrites else None
        looks = self._relu_aware and conv.patch_size <= WIDE
        rectified = rectified_of(replay, y) if looks else None
        site = Site(node, conv, replay.now(_input(node)), targets, passed, rectified)
        decisions, nodes = self._rewrite(site, rewrites)
        if targets is not None or any(decision.applied for decision in decisions):
            replay.follow(nodes, [y.name or ""])
        return decisions

    def _rewrite(
        self, site: Site, rewrites: Sequence[ConvRewrite]
    ) -> tuple[list[Decision], list[ir.Node]]:
        """Try the rewrites in turn; return the decisions and what stands there afterwards."""
        name, conv = site.node.name or "", site.conv
        found = [(rewrite, rewrite.refuse(conv)) for rewrite in rewrites]
        decisions = [Decision(name, r.name, refusal=str(why)) for r, why in found if why]
        able = [rewrite for rewrite, why in found if why is None]
        if able or site.targets is not None:
            moments, sample = site.observed()
            statistics = replace(moments.statistics(), passed=site.passed)
            wanted = conv if site.targets is None else moments.towards()
            for rewrite in able:
                settled = rewrite.settle(wanted, statistics)
                if isinstance(settled, Refusal):
                    decisions.append(Decision(name, rewrite.name, refusal=str(settled)))
                    continue
                if sample is None:
                    decision, made = settled.apply(site.node, wanted, statistics)
                else:
                    fit = refine(settled, wanted, sample, moments, statistics)
                    decision, made = settled.apply(site.node, fit.conv, statistics, fit.found)
                    decision = replace(decision, error=fit.error)
                inner, nodes = self._compose(site, rewrite, decision, made)
                return decisions + inner, nodes
        outcome = "it stays as it is"
        if site.targets is not None and _shares_its_weight(site.node):
            outcome = "it stays as it is, as another layer has the same weights"
        elif site.targets is not None:
            if sample is not None:
                wanted = refine(None, wanted, sample, moments, statistics).conv
            refit(site.node, wanted)
            outcome = "it is re-fitted to what the rewritten network feeds it"
        told = f"no rewrite was asked of it: {outcome}"
        return decisions or [Decision(name, BY, refusal=told)], [site.node]

    def _compose(
        self, site: Site, by: ConvRewrite, decision: Decision, made: list[ir.Node]
    ) -> tuple[list[Decision], list[ir.Node]]:
        """Rewrite what a rewrite made, where that is asked for; the last of it is re-fitted."""
        further = [
            self._choose(node.name or "", by) if is_convolution(node) else [] for node in made
        ]
        if not any(further):
            return [decision], made
        targets = site.targets or self._replay.before(made[-1].outputs[0].name or "")
        decisions, nodes = [], []
        for node, rewrites in zip(made, further, strict=True):
            conv, stand = read(node), [node]
            last = node is made[-1]
            if not isinstance(conv, Refusal) and (rewrites or last):
                inputs = self._replay.now(_input(node))
                inner = Site(
                    node, conv, inputs, targets if last else None, site.passed if last else None
                )
                found, stand = self._rewrite(inner, rewrites)
                decisions += found
            nodes += stand
            if not last:
                self._replay.follow(stand, [stand[-1].outputs[0].name or ""])
        leaves = tuple(node.name or "" for node in nodes)
        return [replace(decision, made=leaves), *decisions], nodes


def refit(node: ir.Node, wanted: Conv) -> None:
    """Give a Conv or Gemm other weights and a bias, in place."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    old = node.inputs[1:3]
    dtype = wanted.weight.dtype if old[0] is None or old[0].dtype is None else old[0].dtype.numpy()
    weight = add_initializer(graph, f"{node.name}.weight", wanted.weight.astype(dtype))
    node.replace_input_with(1, weight)
    if wanted.bias is not None:
        bias = add_initializer(graph, f"{node.name}.bias", wanted.bias.astype(dtype))
        node.resize_inputs(3)
        node.replace_input_with(2, bias)
    if is_gemm(node):
        node.attributes.add(ir.AttrInt64("transB", 1))
    for value in old:
        drop_initializer(graph, value)


def _fitted(node: ir.Node) -> Conv | Refusal:
    """The layer as numbers, or why it is not fitted."""
    conv = read(node)
    if isinstance(conv, Conv) and conv.patch_size > MOST_INPUTS:
        return Refusal(
            f"it stays as it is: a filter sees {conv.patch_size} numbers, and up to {MOST_INPUTS} "
            "are fitted"
        )
    return conv


def _shares_its_weight(node: ir.Node) -> bool:
    """Whether another layer has the same weights: each would need its own."""
    weight = node.inputs[1]
    return weight is not None and len(weight.uses()) > 1


def _input(node: ir.Node) -> str:
    return (node.inputs[0].name if node.inputs[0] is not None else "") or ""
