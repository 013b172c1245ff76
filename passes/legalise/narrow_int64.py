"""narrow_int64: INT64 numbers become INT32 where they fit and what reads them takes INT32.

Before:  Gather(x, indices: INT64), Reshape(x, shape: INT64), Cast<to=INT64>(a BOOL)
After:   Gather(x, indices: INT32), Reshape(x, shape: INT64), Cast<to=INT32>(a BOOL)
TensorRT before version 10 has no INT64: it clamps such weights to INT32, with a warning for each.
Initialisers, and values computed from them and from narrower types, whose range is proven. Where a
Slice begins and ends stays INT64, which NVIDIA's parser wants where the steps are left out, but is
clamped: no axis is longer. Exact: the numbers are the same. Outputs keep their type. Refuses
numbers beyond INT32; what operators want as INT64 stays, and one line says how many.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir

from edgecc.conv import constant
from edgecc.graph import add_initializer, all_names, drop_initializer, fresh_name
from edgecc.rewrite import Decision, Pass, Room
from passes.legalise.ranges import INT32, RULES, fits, ranges

Use: TypeAlias = "tuple[ir.Node, int]"
"""A node, and the place at which it reads a value."""
_READERS = {*RULES, "CumSum", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
_READERS |= {"ScatterElements"}
"""Operators that may read INT32 in place of INT64, in onnxruntime and TensorRT alike."""


@dataclass(frozen=True)
class NarrowInt64(Pass):
    """INT64 becomes INT32 where nothing changes by it."""

    name: ClassVar[str] = "narrow_int64"
    room: ClassVar[Room] = "legalise"

    def run(self, model: ir.Model) -> list[Decision]:
        """Narrow what can be, and say what stays."""
        names = all_names(model.graph)
        clamped = _clamp_slices(model, names)
        narrowing = _Narrowing(model)
        narrowing.settle()
        told, stays, wanted_by = Counter[str]({"slice limit": clamped}), 0, set[str]()
        decisions = []
        plan = [(value, *narrowing.readers(value)) for value in narrowing.constants()]
        for value, narrow, wide in plan:
            if narrow:
                _narrow_constant(value, narrow, None if not wide else names)
                told["constant"] += 1
            if wide and fits(narrowing.ranges.get(value)):
                stays += 1
                wanted_by |= set(wide)
            elif wide:
                least, most = narrowing.ranges[value]
                reason = f"{least if least < INT32[0] else most} does not fit INT32"
                decisions.append(Decision(value.name or "", self.name, refusal=reason))
        for value in narrowing.values:
            told["Cast"] += _narrow_value(value)
        if told.total() or stays:
            name = model.graph.name or "graph"
            note = _in_words(told, stays, sorted(wanted_by))
            decisions.append(Decision(name, self.name, note=note))
        return decisions


class _Narrowing:
    """Which values may be INT32 together."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.opset = model.opset_imports.get("", 0)
        self.ranges = ranges(model)
        self.values = {
            output: node
            for node in model.graph.all_nodes()
            for output in node.outputs
            if output.dtype == ir.DataType.INT64 and node.domain == "" and node.op_type in RULES
            if not output.is_graph_output() and fits(self.ranges.get(output))
        }
        """Those that are computed, with what computes them."""

    def settle(self) -> None:
        """Drop values that cannot be narrowed because of others, until none is left of them."""
        while gone := [v for v, node in self.values.items() if not self._may(v, node)]:
            for value in gone:
                del self.values[value]

    def constants(self) -> list[ir.Value]:
        """Return the INT64 initialisers of all graphs that something reads."""
        graphs = [self.model.graph, *self.model.graph.subgraphs()]
        found = [value for graph in graphs for value in graph.initializers.values()]
        return [v for v in found if v.dtype == ir.DataType.INT64 and (v.uses() or _is_output(v))]

    def readers(self, value: ir.Value) -> tuple[list[Use], list[str]]:
        """Return the uses of a constant that take INT32, and the operators that do not."""
        uses = [(use.node, use.idx) for use in value.uses()]
        narrow = [use for use in uses if self._takes(*use)]
        wide = [node.op_type for node, index in uses if (node, index) not in narrow]
        return narrow, wide + (["an output"] if _is_output(value) else [])

    def _may(self, value: ir.Value, node: ir.Node) -> bool:
        made = node.op_type == "Cast" or self._agrees(node, self._kind(node, value.index() or 0, 1))
        return made and all(self._takes(use.node, use.idx) for use in value.uses())

    def _takes(self, node: ir.Node, index: int) -> bool:
        """Whether the node may read INT32 at this place, all that has the same type with it."""
        if node.domain != "" or node.op_type not in _READERS:
            return False
        if node.op_type == "Slice" and index > 0:
            return False
        return self._agrees(node, self._kind(node, index, 0))

    def _agrees(self, node: ir.Node, kind: str) -> bool:
        """Whether everything of one type variable can become INT32."""
        schema = onnx.defs.get_schema(node.op_type, self.opset, "")
        formals = (*schema.inputs, *schema.outputs)
        if not any(f.type_str == kind and "tensor(int32)" in f.types for f in formals):
            return False
        inputs = all(
            value in self.values or (constant(value) is not None and fits(self.ranges.get(value)))
            for index, value in enumerate(node.inputs)
            if value is not None and self._kind(node, index, 0) == kind
        )
        return inputs and all(
            value in self.values
            for index, value in enumerate(node.outputs)
            if self._kind(node, index, 1) == kind
        )

    def _kind(self, node: ir.Node, index: int, side: int) -> str:
        """The type variable of an input (side 0) or output (side 1)."""
        schema = onnx.defs.get_schema(node.op_type, self.opset, "")
        formals = (schema.inputs, schema.outputs)[side]
        return str(formals[min(index, len(formals) - 1)].type_str)


def _clamp_slices(model: ir.Model, names: set[str]) -> int:
    """Let no slice begin or end beyond INT32; return how many of those limits are clamped."""
    clamped: dict[ir.Value, ir.Value] = {}
    slices = [node for node in model.graph.all_nodes() if node.op_type == "Slice"]
    for node, index in product(slices, (1, 2)):
        value = node.inputs[index] if len(node.inputs) > index else None
        array = constant(value)
        if value is None or value.graph is None or array is None or array.dtype != np.int64:
            continue
        near = np.clip(array, *INT32)
        if value not in clamped and (near != array).any():
            clamped[value] = add_initializer(
                value.graph, fresh_name(f"{value.name}.clamped", names), near
            )
        if value in clamped:
            node.replace_input_with(index, clamped[value])
            drop_initializer(value.graph, value)
    return len(clamped)


def _narrow_constant(value: ir.Value, uses: list[Use], names: set[str] | None) -> None:
    """Let `uses` read the numbers as INT32: from a copy with a new name, or, without `names`, from
    the value itself.
    """
    array = constant(value)
    assert array is not None
    assert value.graph is not None
    small = array.astype(np.int32)
    if names is None:
        value.const_value = ir.tensor(small, name=value.name)
        value.type = ir.TensorType(ir.DataType.INT32)
        return
    copy = add_initializer(value.graph, fresh_name(f"{value.name}.int32", names), small)
    for node, index in uses:
        node.replace_input_with(index, copy)


def _narrow_value(value: ir.Value) -> int:
    """Make a computed value INT32; return how many casts say so."""
    value.type = ir.TensorType(ir.DataType.INT32)
    node = value.producer()
    if node is None or node.op_type != "Cast":
        return 0
    node.attributes.add(ir.AttrInt64("to", int(ir.DataType.INT32)))
    return 1


def _is_output(value: ir.Value) -> bool:
    return value.is_graph_output()


def _in_words(told: Counter[str], stays: int, readers: list[str]) -> str:
    """Say it in one line, as "3 constants and 1 Cast INT32 now; 1 constant stays INT64 for Pad"."""
    limits = told.pop("slice limit", 0)
    counts = [f"{n} {what}{'s' if n > 1 else ''}" for what, n in told.items() if n]
    parts = [f"{' and '.join(counts)} INT32 now"] if counts else []
    if limits:
        parts.append(f"{limits} limit{'s' if limits > 1 else ''} of slices clamped to INT32")
    if stays:
        these = "constant stays" if stays == 1 else "constants stay"
        parts.append(f"{stays} {these} INT64 for {', '.join(readers)}, and would fit INT32")
    return "; ".join(parts)
