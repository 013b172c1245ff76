"""What a build would do, and what a model is made of: nothing is lowered, nothing written."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecc import catalog
from edgecc.clock import Clock, Progress
from edgecc.conv import is_convolution
from edgecc.cost import Ledger, count
from edgecc.report import record
from edgecc.request import Asked, Request
from edgecc.settle import settle
from edgecc.shapes import GivenShapes, read_shapes
from edgecc.source import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack


def explain(
    model: str | Path,
    target: str = "host",
    *,
    request: Request | None = None,
    shape: GivenShapes | None = None,
    progress: Progress = lambda stage: None,
    **asked: Unpack[Asked],
) -> dict[str, Any]:
    """Return what `build` would do to each convolution and why, without lowering or writing.

    The keys are those of report.json; what only a whole build knows is absent.
    """
    board = catalog.target(target)
    wish, clock = request or Request.of(**asked), Clock(progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = Source.read(Path(model), read_shapes(shape), Path(scratch), dynamic=True)
        prepared = catalog.prepare().run(source.model)
        ledger = Ledger(source.model, source.shapes.inputs, catalog.infer_shapes)
        with clock.stage("plan"):
            place = source.workplace(board, ledger, Path(scratch), clock.detail)
            rewriting = settle(wish, place)
        with clock.stage("rewrite"):
            decided = rewriting.run(source.model, [ledger], Path(scratch), clock.detail)
            decided += catalog.tidy().run(source.model, [ledger])
    return {
        **record.of_build(source.record, board.name, str(rewriting.rewrites), source.shapes),
        **record.of_rewriting(rewriting),
        **record.of_costs(source.params, ledger.costs),
        "decisions": record.of_decisions(decided, ledger.costs),
        "passes": record.of_passes([*prepared, *decided]),
    }


def inspect(model: str | Path, *, shape: GivenShapes | None = None) -> dict[str, Any]:
    """Return what a model is made of: inputs, operators, and each convolution with its cost."""
    source = Source.read_only(Path(model), read_shapes(shape))
    catalog.prepare().run(source.model)
    costs = count(source.model, source.shapes.inputs, catalog.infer_shapes)
    return {
        **record.of_build(source.record, "", "", source.shapes),
        "macs": costs.total.macs,
        "params": source.params,
        "uncounted": costs.uncounted,
        "operators": dict(Counter(node.op_type for node in source.model.graph).most_common()),
        "convolutions": [
            record.of_convolution(node, costs.by_node[node.name or ""])
            for node in source.model.graph
            if is_convolution(node)
        ],
    }
