"""Values whose channels must lie in one order, and every place where that order is written down.

Reordering the channels of one value takes reordering those of all that are coupled to it: through
activations, pooling, depthwise convolutions, sums (a whole residual stream). The order begins in
the rows of the weights that make them, and ends in the columns of the weights that read them.
Paper: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, where such values are
    what has to be pruned together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecc.conv import Refusal, constant
from edgecc.graph import add_initializer, drop_initializer
from passes.decompose.roles import gathered, role_of, width

Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where an order of channels is written: along an axis of a constant that a node reads."""

    node: ir.Node
    input: int
    axis: int
    repeat: int
    """So many numbers, one behind the other, for each channel."""


@dataclass
class Coupled:
    """Values coupled by their channels."""

    channels: int
    repeats: dict[ir.Value, int] = field(default_factory=dict)
    """How many channels of a value stand for one: the multiplier of a depthwise convolution, the
    positions that a Flatten lays behind each other."""
    places: list[Place] = field(default_factory=list)
    depthwise: dict[ir.Node, int] = field(default_factory=dict)
    """With the groups that they have for each channel."""
    makers: list[ir.Node] = field(default_factory=list)
    """Gathers that make one of the values."""
    readers: list[ir.Node] = field(default_factory=list)
    """Gathers that read one of them."""
    whole: str | None = None
    """A node that reads all channels by its weights, if there is one."""

    def used(self) -> Order:
        """The channels that are read, sorted."""
        indices = [index for node in self.readers if (index := gathered(node)) is not None]
        if self.whole is not None or not indices:
            return np.arange(self.channels)
        return np.unique(np.concatenate(indices))

    def rearrange(self, order: Order) -> list[str]:
        """Let channel k of every value be what channel `order[k]` was, and return the names of the
        nodes that changed. Channels that `order` leaves out are no longer made: none of them may be
        `used`.
        """
        where = np.full(self.channels, -1)
        where[order] = np.arange(len(order))
        for place in self.places:
            numbers = constant(place.node.inputs[place.input])
            assert numbers is not None  # as when it was found
            _set(place.node, place.input, numbers.take(_spread(order, place.repeat), place.axis))
        for node in self.readers:
            index = constant(node.inputs[1])
            assert index is not None  # likewise
            _set(node, 1, where[index])
        for node, groups in self.depthwise.items():
            node.attributes.add(ir.AttrInt64("group", len(order) * groups))
        for value, repeat in self.repeats.items():
            assert value.shape is not None  # or its width would not be known
            sizes = list(value.shape)
            value.shape = ir.Shape([sizes[0], len(order) * repeat, *sizes[2:]])
        nodes = [place.node for place in self.places] + self.readers
        return list(dict.fromkeys(node.name or "" for node in nodes))


def coupled(value: ir.Value) -> Coupled | Refusal:
    """Find everything that is coupled to the channels of `value`, or why they cannot be moved."""
    channels = width(value)
    if channels is None:
        return Refusal(f"the number of channels of {value.name} is not known")
    found = Coupled(channels)
    ahead = [(value, 1)]
    while ahead:
        value, repeat = ahead.pop()
        if found.repeats.get(value) == repeat:
            continue
        if value in found.repeats or width(value) != channels * repeat:
            return Refusal(f"the channels of {value.name} are others")
        found.repeats[value] = repeat
        for look in (_before, _behind):
            reached = look(found, value, repeat)
            if isinstance(reached, Refusal):
                return reached
            ahead += reached
    return found


def _before(found: Coupled, value: ir.Value, repeat: int) -> list[tuple[ir.Value, int]] | Refusal:
    """What `value` is coupled to through the node that makes it."""
    node = value.producer()
    if node is None or value.is_graph_output():
        kind = "an output" if value.is_graph_output() else "an input"
        return Refusal(f"{value.name} is {kind} of the network")
    role = role_of(node)
    if isinstance(role, Refusal):
        return role
    if repeat % role.repeat:
        return Refusal(f"{node.name} makes {role.repeat} channels of each")
    found.places += [Place(node, index, axis, repeat) for index, axis in role.rows]
    if gathered(node) is not None:
        found.makers.append(node)
    if role.groups:
        found.depthwise[node] = repeat // role.repeat
    return [(x, repeat // role.repeat) for x in role.through]


def _behind(found: Coupled, value: ir.Value, repeat: int) -> list[tuple[ir.Value, int]] | Refusal:
    """What `value` is coupled to through the nodes that read it."""
    reached: list[tuple[ir.Value, int]] = []
    producer = value.producer()
    for node, index in value.uses():
        role = role_of(node)
        if isinstance(role, Refusal):
            return role
        if producer is None or node.graph is not producer.graph:
            return Refusal(f"a subgraph reads {value.name}")
        if value in role.through:
            reached.append((node.outputs[0], repeat * role.repeat))
        elif index == 0 and gathered(node) is not None and repeat == 1:
            found.readers.append(node)
        elif index == 0 and role.columns:
            found.places += [Place(node, number, axis, repeat) for number, axis in role.columns]
            found.whole = node.name or ""
        else:
            return Refusal(f"{node.op_type} {node.name} reads {value.name}")
    return reached


def _spread(order: Order, repeat: int) -> Order:
    """`order` where each channel has become so many, one behind the other."""
    found: Order = (order[:, None] * repeat + np.arange(repeat)).ravel()
    return found


def _set(node: ir.Node, index: int, numbers: npt.NDArray[Any]) -> None:
    """Give `node` a constant of its own: others that read the old one keep it."""
    old, graph = node.inputs[index], node.graph
    assert old is not None
    assert isinstance(graph, ir.Graph)
    numbers = np.ascontiguousarray(numbers)
    if old.is_initializer() and len(old.uses()) == 1 and not old.is_graph_output():
        old.const_value = ir.tensor(numbers, name=old.name)
        old.shape = ir.Shape(numbers.shape)
        return
    node.replace_input_with(index, add_initializer(graph, old.name or "", numbers))
    drop_initializer(graph, old)
