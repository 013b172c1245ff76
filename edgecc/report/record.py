"""The record of a build: plain data, the content of report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecc.conv import ints
from edgecc.cost import Cost, Costs
from edgecc.distance import Distance
from edgecc.oracle import Difference, worst
from edgecc.pipeline import Report
from edgecc.plan import Plan
from edgecc.rewrite import Decision
from edgecc.rewriting import Rewriting
from edgecc.shapes import Shapes
from edgecc.verify import Proofs

SCHEMA_VERSION = 1


def of_model(model: ir.Model, name: str, sha256: str, size_bytes: int) -> dict[str, Any]:
    """Describe the model as it was given."""
    return {
        "name": name,
        "sha256": sha256,
        "size_bytes": size_bytes,
        "opset": model.opset_imports.get("", 0),
        "inputs": [_tensor(v) for v in model.graph.inputs if not v.is_initializer()],
        "outputs": [_tensor(value) for value in model.graph.outputs],
    }


def of_build(model: dict[str, Any], target: str, rewrites: str, shapes: Shapes) -> dict[str, Any]:
    """What was asked for, and the input shapes that every figure of the record is for."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "target": target,
        "rewrites": rewrites,
        "shapes": {
            "inputs": {name: list(shape) for name, shape in shapes.inputs.items()},
            "assumed": shapes.assumed,
            "fixed": shapes.fixed,
        },
    }


def of_rewriting(rewriting: Rewriting) -> dict[str, Any]:
    """What the convolutions were fitted on, what was tried, and what a planner chose among."""
    samples, plan = rewriting.samples, rewriting.rewrites
    search = plan.search if isinstance(plan, Plan) else None
    return {
        "goal": dict(rewriting.goal),
        "search": dict(search) if search is not None else None,
        "calibration": samples.describe() if samples else None,
        "planning": rewriting.account,
    }


def of_costs(params: int, ledger: Sequence[Costs]) -> dict[str, Any]:
    """Multiply-adds and parameters; `params` is what the model came with, BatchNorm included."""
    first, last = ledger[0], ledger[-1]
    return {
        "macs": {"before": first.total.macs, "after": last.total.macs},
        "params": {"before": params, "after": last.total.params},
        "uncounted": last.uncounted,
    }


def of_verify(
    proofs: Proofs,
    prepared: Difference,
    rewritten: Distance,
    lowered: Difference | None,
) -> dict[str, Any]:
    """Output errors: of the whole rewrite against the original, and of the steps that are exact;
    those are taken on `inputs`.
    """
    return {
        **worst(rewritten.outputs).to_json(),
        "outputs": {name: found.to_json() for name, found in rewritten.outputs.items()},
        "on": dict(rewritten.on),
        "inputs": proofs.used,
        "prepared": prepared.to_json(),
        "lowered": lowered.to_json() if lowered else None,
    }


def of_passes(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """What each pass did and what it refused, but for the convolutions' decisions."""
    return [
        {
            "pass": report.by,
            "applied": [_line(d) for d in report.decisions if d.applied],
            "refused": [_line(d) for d in report.decisions if not d.applied],
        }
        for report in reports
        if not report.of_convolutions
    ]


def of_decisions(reports: Sequence[Report], ledger: Sequence[Costs]) -> list[dict[str, Any]]:
    """One entry for each convolution and pass; `ledger` has the costs before and after each."""
    return [
        _decision(decision, before.by_node, after.by_node)
        for report, before, after in zip(reports, ledger[:-1], ledger[1:], strict=True)
        if report.of_convolutions
        for decision in report.decisions
    ]


def of_convolution(node: ir.Node, cost: Cost) -> dict[str, Any]:
    """A convolution of the prepared model, with its cost."""
    weight, y = node.inputs[1], node.outputs[0]
    sizes = list(weight.shape) if weight is not None and weight.shape is not None else []
    return {
        "name": node.name,
        "operator": node.op_type,
        "weight": [size if isinstance(size, int) else None for size in sizes],
        "strides": ints(node, "strides", [1] * (len(sizes) - 2)),
        "dilations": ints(node, "dilations", [1] * (len(sizes) - 2)),
        "groups": node.attributes.get_int("group", 1),
        "output": _tensor(y)["shape"],
        "macs": cost.macs,
        "params": cost.params,
    }


def _decision(
    decision: Decision, before: Mapping[str, Cost], after: Mapping[str, Cost]
) -> dict[str, Any]:
    """The costs before are None of what stood in the network only in between: what one rewrite
    made and another replaced. Inside subgraphs nothing is counted.
    """
    old = new = before.get(decision.node)
    if decision.made:
        new = sum((after.get(name, Cost()) for name in decision.made), Cost())
    elif old is None:
        old = new = after.get(decision.node)
    return {
        "convolution": decision.node,
        "family": decision.by if decision.applied else None,
        "options": decision.options,
        "refused_by": None if decision.applied else decision.by,
        "refusal": decision.refusal,
        "error": decision.error,
        "nodes": list(decision.made) or [decision.node],
        "macs": {"before": old.macs if old else None, "after": new.macs if new else None},
        "params": {"before": old.params if old else None, "after": new.params if new else None},
    }


def _line(decision: Decision) -> dict[str, str]:
    text = decision.note if decision.applied else decision.refusal
    return {"node": decision.node, "what": text or ""}


def _tensor(value: ir.Value) -> dict[str, Any]:
    sizes = [s if isinstance(s, int) else s.value for s in value.shape or ()]
    dtype = value.dtype.name.lower() if value.dtype else None
    return {"name": value.name, "dtype": dtype, "shape": sizes}
