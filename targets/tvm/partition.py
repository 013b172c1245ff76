"""A network cut into the fewest segments that run one behind the other in two runtimes.

    before  Conv, Relu, LpNormalization, Conv, Softmax       TVM has no LpNormalization
    after   [Conv, Relu] TVM, [LpNormalization] onnxruntime, [Conv, Softmax] TVM

A node's level is the largest number of changes of runtime on any path to it; a segment is all of
one level. Every edge then leads to the same or a later segment, and there cannot be fewer: a path
with that many changes needs that many segments. Nodes are known by their names, which are unique.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

import onnx
from onnx import GraphProto, NodeProto

TVM, ONNXRUNTIME = "tvm", "onnxruntime"


@dataclass(frozen=True)
class Segment:
    """A part of a network as a model of its own, and the runtime that it is for."""

    runs_in: str
    model: onnx.ModelProto

    @property
    def nodes(self) -> list[NodeProto]:
        """Its nodes, constants aside."""
        return [node for node in self.model.graph.node if node.op_type != "Constant"]

    @property
    def convolutions(self) -> int:
        """How many of its nodes are convolutions."""
        return sum("Conv" in node.op_type for node in self.nodes)

    def operators(self) -> dict[str, int]:
        """Count the nodes by operator."""
        return dict(Counter(operator(node) for node in self.nodes))


class Network:
    """A model's nodes in their order, what each reads, and who makes it.

    Constants are no nodes here, and neither is what no output needs.
    """

    def __init__(self, model: onnx.ModelProto, types: dict[str, onnx.TypeProto]) -> None:
        graph = model.graph
        self.model = model
        self.types = types
        self.nodes = _needed(graph)
        self.reads = [_reads(node) for node in self.nodes]
        self.maker = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self.constant_nodes = {n.output[0]: n for n in graph.node if n.op_type == "Constant"}
        self.weights = {weight.name: weight for weight in graph.initializer}
        self.returned = [value.name for value in graph.output]

    def part(self, indices: Iterable[int], *, first: bool = False) -> onnx.ModelProto:
        """Return some of the nodes as a model: it takes what they read of others, constants
        aside, and returns what others read of them.

        The `first` part also returns those of the network's outputs that are constants.
        """
        inside = sorted(indices)
        mine = set(inside)
        made = [name for i in inside for name in self.nodes[i].output if name]
        read = {name: None for i in inside for name in self.reads[i]}
        elsewhere = {n for i, names in enumerate(self.reads) if i not in mine for n in names}
        out = [name for name in made if name in elsewhere or name in self.returned]
        if first:
            out += [name for name in self.returned if self._is_constant(name)]
        used = [*read, *out]
        graph = onnx.helper.make_graph(
            [
                *(self.constant_nodes[n] for n in dict.fromkeys(used) if n in self.constant_nodes),
                *(self.nodes[i] for i in inside),
            ],
            self.model.graph.name or "segment",
            [self.value(n) for n in read if n not in made and not self._is_constant(n)],
            [self.value(name) for name in out],
            [self.weights[name] for name in dict.fromkeys(used) if name in self.weights],
            value_info=[self.value(n) for n in made if n in self.types and n not in out],
        )
        model = onnx.helper.make_model(graph, functions=self.model.functions)
        model.ir_version = self.model.ir_version
        del model.opset_import[:]
        model.opset_import.extend(self.model.opset_import)
        return model

    def crossing(self, indices: Iterable[int]) -> list[tuple[str, set[int]]]:
        """Return the tensors at the border of some nodes, each with those of them that touch it."""
        mine = set(indices)
        found: dict[str, set[int]] = {}
        for index, names in enumerate(self.reads):
            for name in names:
                maker = self.maker.get(name)
                if index in mine and maker not in mine and not self._is_constant(name):
                    found.setdefault(name, set()).add(index)
                if index not in mine and maker is not None and maker in mine:
                    found.setdefault(name, set()).add(maker)
        for name in self.returned:
            if self.maker.get(name) in mine:
                found.setdefault(name, set()).add(self.maker[name])
        return list(found.items())

    def _is_constant(self, name: str) -> bool:
        return name in self.weights or name in self.constant_nodes

    def value(self, name: str) -> onnx.ValueInfoProto:
        """Describe a tensor, as far as its type is known."""
        value = onnx.helper.make_empty_tensor_value_info(name)
        if name in self.types:
            value.type.CopyFrom(self.types[name])
        return value


def partition(
    network: Network, elsewhere: Set[str], passable: Callable[[onnx.ValueInfoProto], bool]
) -> list[Segment]:
    """Return the segments in the order in which they run.

    The nodes called `elsewhere` run in onnxruntime; so does what would exchange a tensor with TVM
    that is not `passable`, and what has no product in it and only costs a change of
    runtime.
    """
    outside = {i for i, node in enumerate(network.nodes) if node.name in elsewhere}
    groups = _without_light_ones(network, _settled(network, outside, passable), passable)
    return [
        Segment(runs_in, network.part(group, first=number == 0))
        for number, (runs_in, group) in enumerate(groups)
    ]


Groups = list[tuple[str, list[int]]]


def _settled(
    network: Network, outside: set[int], passable: Callable[[onnx.ValueInfoProto], bool]
) -> Groups:
    """Return groups of nodes, once every tensor at a border of TVM's passes."""
    while True:
        groups = _groups(network, outside)
        moved = {
            index
            for runs_in, group in groups
            if runs_in == TVM
            for name, touching in network.crossing(group)
            if not passable(network.value(name))
            for index in touching
        }
        if not moved:
            return groups
        outside = outside | moved


def _groups(network: Network, outside: set[int]) -> Groups:
    """Return the nodes by level, with the better of the two runtimes to begin with."""
    choices = []
    for first in (False, True):  # whether onnxruntime begins
        levels: dict[int, list[int]] = {}
        level: list[int] = []
        for index, names in enumerate(network.reads):
            side = index in outside
            before = [network.maker[name] for name in names if name in network.maker]
            own = max((level[i] + (side != (i in outside)) for i in before), default=side != first)
            level.append(max(own, int(side != first)))
            levels.setdefault(level[-1], []).append(index)
        choices.append([levels[key] for key in sorted(levels)])
    best = min(choices, key=len)
    return [(ONNXRUNTIME if group[0] in outside else TVM, group) for group in best]


def _without_light_ones(
    network: Network, groups: Groups, passable: Callable[[onnx.ValueInfoProto], bool]
) -> Groups:
    """Give onnxruntime those of TVM's groups that have no product in them and cost a segment."""
    for runs_in, group in groups:
        if runs_in == TVM and not any(_is_heavy(network.nodes[index]) for index in group):
            outside = {i for other, more in groups if other == ONNXRUNTIME for i in more}
            fewer = _settled(network, outside | set(group), passable)
            if len(fewer) < len(groups):
                return _without_light_ones(network, fewer, passable)
    return groups


def operator(node: NodeProto) -> str:
    """Return a node's operator, with its domain where that is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _is_heavy(node: NodeProto) -> bool:
    return any(word in node.op_type for word in ("Conv", "Gemm", "MatMul"))


def _needed(graph: GraphProto) -> list[NodeProto]:
    """Return the nodes behind the outputs, in their order, constants aside."""
    needed = {value.name for value in graph.output}
    found = []
    for node in reversed(graph.node):
        if needed.intersection(node.output) and node.op_type != "Constant":
            found.append(node)
            needed.update(_reads(node))
    return found[::-1]


def _reads(node: NodeProto) -> list[str]:
    """Return the names a node reads, those too that its subgraphs take from around them."""
    names = dict.fromkeys(name for name in node.input if name)
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            names.update(dict.fromkeys(_free(graph)))
    return list(names)


def _free(graph: GraphProto) -> list[str]:
    own = {value.name for value in graph.input} | {weight.name for weight in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    read = [name for node in graph.node for name in _reads(node)]
    return [name for name in [*read, *(value.name for value in graph.output)] if name not in own]
