"""Networks around a Gather of channels, and what is left of it when it is folded."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from helpers import largest_gap, normal, operators, parse

from edgecc.rewrite import ConvRewrite, Decision
from passes.decompose.fold_gather import FoldGather

WEIGHTS: dict[str, Any] = {
    "ORDER": np.array([3, 0, 5, 1, 4, 2]),
    "SOME": np.array([1, 2, 4]),
    "W": normal(6, 4, 3, 3) / 4,
    "GROUPED": normal(6, 2, 3, 3) / 4,
    "B": normal(6),
    "V": normal(5, 6, 1, 1, seed=4),
    "V3": normal(4, 3, 1, 1, seed=5),
    "C4": normal(4),
    "C5": normal(5),
}


def net(body: str, out: str = "float[2,N,H,W] y", **weights: Any) -> onnx.ModelProto:
    """A network that reads float[2,4,9,9] x; weights are in capitals, nodes called as what they
    make.
    """
    named = {**WEIGHTS, **weights}
    used = {name: named[name] for name in re.findall(r"\b[A-Z][A-Z0-9]*\b", body) if name in named}
    model = parse(f"g (float[2,4,9,9] x) => ({out}) {{ {body} }}", used)
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def fold(
    model: onnx.ModelProto, *before: tuple[str, ConvRewrite]
) -> tuple[ir.Model, list[Decision]]:
    """Rewrite convolutions, by their names, then fold; the numbers and names stay the same."""
    copy = ir.from_proto(onnx.ModelProto.FromString(model.SerializeToString()))
    for name, rule in before:
        (node,) = (node for node in copy.graph if node.name == name)
        assert rule.apply(node)[0].applied
    decomposed = onnx.ModelProto.FromString(ir.to_proto(copy).SerializeToString())
    decisions = FoldGather().run(copy)
    onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    assert largest_gap(decomposed, copy) < 1e-5
    assert [value.name for value in copy.graph.outputs] == [v.name for v in model.graph.output]
    return copy, decisions


def gathers(model: ir.Model) -> int:
    """How many Gathers there are."""
    return operators(model).count("Gather")
