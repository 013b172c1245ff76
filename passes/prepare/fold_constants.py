"""fold_constants: what depends on constants alone is computed now, by onnxscript's folder.

Before:  Reshape(x, Concat(Unsqueeze(Gather(Shape(x), 0)), [64]))
After:   Reshape(x, [1, 64]), where the shape of x is known
Exact. Leaves alone what would grow the model beyond `MAX_ELEMENTS` per value, random operators,
    and (QDQ models) DequantizeLinear of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxscript.optimizer import fold_constants

from edgecc.rewrite import Decision, Pass, Room

MAX_ELEMENTS = 1 << 22
"""Larger results are not worth storing: 16 MB of float32."""


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Sub-graphs of constants become initialisers."""

    name: ClassVar[str] = "fold_constants"
    room: ClassVar[Room] = "prepare"

    def run(self, model: ir.Model) -> list[Decision]:
        """Fold until nothing changes."""
        before = {node.name: node.op_type for node in model.graph}
        while fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=MAX_ELEMENTS,
            output_size_limit=MAX_ELEMENTS,
            should_fold=_should_fold,
        ).modified:
            LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
            _restate_splits(model)
            RemoveUnusedNodesPass()(model)
        left = {node.name for node in model.graph}
        gone = [(name, kind) for name, kind in before.items() if name not in left]
        return [Decision(name or kind, self.name, note="folded") for name, kind in gone]


def _restate_splits(model: ir.Model) -> None:
    """Say what onnxscript makes of a SplitToSequence as the model's opset does: `num_outputs` came
    with opset 18, the sizes as an input with 13.
    """
    version = model.graph.opset_imports[""]
    for node in model.graph:
        if node.op_type != "Split" or node.domain not in ("", "ai.onnx"):
            continue
        if version < 18:
            node.attributes.pop("num_outputs", None)
        sizes = node.inputs[1] if len(node.inputs) > 1 else None
        if version < 13 and sizes is not None and sizes.const_value is not None:
            node.attributes.add(ir.AttrInt64s("split", sizes.const_value.numpy().tolist()))
            node.resize_inputs(1)


def _should_fold(node: ir.Node) -> bool | None:
    """False for results too large to store; None leaves the choice to onnxscript.

    A small ConstantOfShape is folded, which onnxscript leaves to save space: it may be a weight.
    """
    for value in node.outputs:
        sizes = [] if value.shape is None else list(value.shape)
        known = [size for size in sizes if isinstance(size, int)]
        if node.op_type in _GROWING and (value.shape is None or len(known) < len(sizes)):
            return False
        if math.prod(known) > MAX_ELEMENTS:
            return False
    return True if node.op_type == "ConstantOfShape" else None


_GROWING = {"ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Upsample", "Pad", "OneHot"}
"""Operators whose result may be any size, whatever the size of their inputs."""
