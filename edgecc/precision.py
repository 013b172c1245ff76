"""What a precision below float32 takes and costs, settled before any board is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecc.planning.evaluate import Evaluation
from edgecc.quantise import QuantWish, quantise_model
from edgecc.quantise.accuracy import Judge
from edgecc.quantise.simulate import as_float16
from edgecc.request import Request
from edgecc.target import Arrays, Backend, Target, Tell

MOST_ERROR = 0.05
"""The relative RMS error of the outputs up to which "best" takes layers to INT8, without a
metric of the user's."""
MOST_DROP = 0.01
"""The same for a metric."""
MOST_FEEDS = 4
"""Batches that float16 is judged on."""


@dataclass(frozen=True)
class Settled:
    """How the network is computed, and what report.json says of it."""

    lowering: Backend
    record: dict[str, Any] | None


def with_samples(request: Request, lowering: Backend, board: Target) -> Request:
    """Return the request, with made-up samples where INT8 needs some and none are given: they
    set its ranges, and the rewrites are what they are in float.
    """
    if request.source is not None or lowering.quantisation(board) is None:
        return request
    return replace(request, calib="synthetic", fit=False)


def settle_precision(
    lowering: Backend,
    board: Target,
    graph: ir.Model,
    written: Path,
    feeds: Sequence[Arrays],
    scratch: Path,
    *,
    evaluation: Evaluation | None = None,
    tell: Tell = lambda text: None,
) -> Settled:
    """Quantise the legalised `graph` of `written` where the backend wants INT8; measure the cost.

    `feeds` are calibration samples. Balanced for INT8, `written` is written again, the same
    function of its inputs. Errors: as `edgecc.quantise.quantise_model`.
    """
    wanted = lowering.quantisation(board)
    if wanted is None:
        if lowering.computes_in(board) != "fp16" or _is_narrow(graph):
            return Settled(lowering, None)
        tell("what float16 costs")
        judge = Judge(written, feeds[:MOST_FEEDS], evaluation)
        found = judge(as_float16(written, scratch / "half.onnx"))
        told = {"float32": {"metric": judge.metric}, "float16": found.to_json(), "int8": None}
        return Settled(lowering, {"computes_in": "fp16", "accuracy": told})
    most = MOST_DROP if evaluation else MOST_ERROR
    wish = QuantWish(wanted.form, wanted.release, most=most if wanted.freely else None)
    made = quantise_model(graph, written, feeds, wish, scratch, evaluation=evaluation, tell=tell)
    record = {"computes_in": "int8", "kept": list(made.kept), **made.record}
    return Settled(lowering.keeping(made.kept), record)


def _is_narrow(graph: ir.Model) -> bool:
    """Whether legalising wrote float16 into the model: verifying it tells what that costs."""
    weights = graph.graph.initializers.values()
    return any(weight.dtype == ir.DataType.FLOAT16 for weight in weights)
