"""global_pool_to_pool: a pool over the whole map becomes pools with windows of a target's size.

Before:  GlobalAveragePool(x)                                     x: (N, C, 56, 56)
After:   AveragePool<7x7, stride 7>(AveragePool<8x8, stride 8>(x))   (N, C, 1, 1)
GlobalAveragePool, GlobalMaxPool, ReduceMean and ReduceMax over H and W, and an AveragePool or
MaxPool of a window as large as its input. The average of averages over windows of one size is the
average: exact but for rounding, a maximum without. Where a size has a prime factor above the
window (13), an average is a depthwise convolution over the map, if a kernel may be as large.
Refuses open sizes, a maximum over such sizes, and what reduces other axes.
NVIDIA's Deep-Learning-Accelerator-SW tells of both for ReduceMean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal, constant, ints
from edgecc.graph import add_initializer
from edgecc.rewrite import Decision, Pass, Room, replace

POOLS = {
    "GlobalAveragePool": "AveragePool",
    "GlobalMaxPool": "MaxPool",
    "ReduceMean": "AveragePool",
    "ReduceMax": "MaxPool",
    "AveragePool": "AveragePool",
    "MaxPool": "MaxPool",
}


@dataclass(frozen=True)
class GlobalPoolToPool(Pass):
    """Pools over the whole map become pools with small windows."""

    name: ClassVar[str] = "global_pool_to_pool"
    room: ClassVar[Room] = "legalise"

    window: int = 8
    """The largest window that the target pools with."""
    kernel: int = 32
    """The largest kernel that it convolves with."""

    def run(self, model: ir.Model) -> list[Decision]:
        """Replace every pool over a whole map of the main graph."""
        decisions = []
        for node in list(model.graph):
            if node.domain != "" or node.op_type not in POOLS or self._is_small(node):
                continue
            name = node.name or node.outputs[0].name or ""
            sizes = _whole_map(node)
            made = sizes if isinstance(sizes, Refusal) else self._made(node, sizes)
            if isinstance(made, Refusal):
                decisions.append(Decision(name, self.name, refusal=str(made)))
                continue
            replace(node, made[-1].outputs[0], made)
            names = tuple(each.name or "" for each in made)
            decisions.append(Decision(name, self.name, made=names))
        return decisions

    def _is_small(self, node: ir.Node) -> bool:
        """Whether it is an ordinary pool that the target has."""
        ordinary = node.op_type in ("AveragePool", "MaxPool")
        return ordinary and max(ints(node, "kernel_shape", [1])) <= self.window

    def _made(self, node: ir.Node, sizes: tuple[int, int]) -> list[ir.Node] | Refusal:
        """The nodes that stand for one over a map of these sizes."""
        windows = self._windows(sizes)
        if not isinstance(windows, Refusal):
            return _chain(node, windows)
        channels = node.inputs[0].shape[1] if node.inputs[0] and node.inputs[0].shape else None
        small = max(sizes) <= self.kernel and isinstance(channels, int)
        if POOLS[node.op_type] != "AveragePool" or not small:
            return windows
        return _average(node, sizes)

    def _windows(self, sizes: tuple[int, int]) -> list[tuple[int, int]] | Refusal:
        """The windows, one behind the other, that cover a map of these sizes."""
        split = [factors(size, self.window) for size in sizes]
        for size, found in zip(sizes, split, strict=True):
            if found is None:
                return Refusal(f"{size} is no product of windows up to {self.window}")
        high, wide = (found or [] for found in split)
        count = max(len(high), len(wide), 1)
        high, wide = ([*part, *[1] * (count - len(part))] for part in (high, wide))
        return list(zip(high, wide, strict=True))


def factors(size: int, most: int) -> list[int] | None:
    """Return factors of `size` up to `most`, the larger first; None where there are none."""
    found = []
    while size > 1:
        factor = next((f for f in range(min(most, size), 1, -1) if size % f == 0), None)
        if factor is None:
            return None
        found.append(factor)
        size //= factor
    return found


def _whole_map(node: ir.Node) -> tuple[int, int] | Refusal:
    """H and W of the map that `node` pools as a whole."""
    x = node.inputs[0]
    shape = list(x.shape or ()) if x is not None else []
    if x is None or len(shape) != 4:
        return Refusal("its input is no map of two dimensions")
    if x.dtype is None or not x.dtype.is_floating_point():
        return Refusal("its input is no fractions")
    height, width = shape[2:]
    if not isinstance(height, int) or not isinstance(width, int):
        return Refusal("the size of its input is open")
    if node.op_type.startswith("Reduce"):
        axes = _axes(node)
        if axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
            return Refusal("it reduces other axes than H and W")
    elif not node.op_type.startswith("Global") and not _covers(node, (height, width)):
        return Refusal("its window is large, and not the whole input")
    return height, width


def _axes(node: ir.Node) -> list[int] | None:
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        numbers = constant(node.inputs[1])
        return None if numbers is None else [int(axis) for axis in numbers]
    return ints(node, "axes", []) or None


def _covers(node: ir.Node, sizes: tuple[int, int]) -> bool:
    """Whether an ordinary pool has one window, over all of its input."""
    one_output = len(node.outputs) == 1
    plain = node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    padded = any(ints(node, "pads", [0]))
    dilated = any(d != 1 for d in ints(node, "dilations", [1]))
    whole = ints(node, "kernel_shape", []) == list(sizes)
    return one_output and plain and whole and not padded and not dilated


def _chain(node: ir.Node, windows: list[tuple[int, int]]) -> list[ir.Node]:
    """Pools, one behind the other."""
    kind = POOLS[node.op_type]
    value, sizes = _input(node)
    made: list[ir.Node] = []
    for place, window in enumerate(windows):
        attributes: dict[str, Any] = {"kernel_shape": list(window), "strides": list(window)}
        if kind == "AveragePool":
            attributes["count_include_pad"] = 1  # there are none; Xavier's DLA wants it
        sizes[2:] = [size // step for size, step in zip(sizes[2:], window, strict=True)]
        name = f"{_stem(node)}{place}"
        made.append(ir.node(kind, [value], attributes=attributes, name=name))
        value = _named(made[-1], node, sizes)
    return [*made, *_flattened(node, value)]


def _average(node: ir.Node, window: tuple[int, int]) -> list[ir.Node]:
    """A depthwise convolution of the whole map."""
    value, sizes = _input(node)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    dtype: Any = (value.dtype or ir.DataType.FLOAT).numpy()
    weight = np.full((sizes[1], 1, *window), 1 / math.prod(window), dtype)
    kernel = add_initializer(graph, f"{_stem(node)}.weight", weight)
    attributes = {"kernel_shape": list(window), "group": sizes[1]}
    made = ir.node("Conv", [value, kernel], attributes=attributes, name=f"{_stem(node)}0")
    sizes[2:] = [1, 1]
    return [made, *_flattened(node, _named(made, node, sizes))]


def _input(node: ir.Node) -> tuple[ir.Value, list[Any]]:
    value = node.inputs[0]
    assert value is not None
    return value, list(value.shape or ())


def _stem(node: ir.Node) -> str:
    return f"{node.name or node.outputs[0].name}.pool"


def _named(made: ir.Node, node: ir.Node, sizes: list[Any]) -> ir.Value:
    """The output of a new node, with its name, type and shape."""
    value: ir.Value = made.outputs[0]
    value.name, value.type, value.shape = f"{made.name}.out", node.outputs[0].type, ir.Shape(sizes)
    return value


def _flattened(node: ir.Node, value: ir.Value) -> list[ir.Node]:
    """A Flatten, where `node` drops H and W."""
    keeps = node.attributes.get_int("keepdims", 1) != 0
    if keeps or not node.op_type.startswith("Reduce"):
        return []
    return [ir.node("Flatten", [value], attributes={"axis": 1}, name=f"{_stem(node)}.flatten")]
