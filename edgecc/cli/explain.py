"""edgecc explain: what would be done, or was done, to each convolution, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecc.cli.build import Passes, Plan, Shapes, TargetName
from edgecc.cli.console import AsJson, show_json, stdout, verb


@verb
def explain(
    model: Annotated[
        Path, typer.Argument(help="A model (what would be done) or a bundle (what was done).")
    ],
    target: TargetName = "host",
    passes: Passes = None,
    plan: Plan = None,
    shape: Shapes = None,
    as_json: AsJson = False,
) -> None:
    """Show per convolution what is chosen, at what price, and what is refused and why.

    [bold]Examples[/bold]

      edgecc explain model.onnx --passes "basis(energy=0.9)"

      edgecc explain model-host
    """
    from edgecc import bundle, job
    from edgecc.report.tables import show_explanation

    if model.is_dir():
        found = bundle.read(model)[0]
    else:
        found = job.explain(model, target, passes=passes, plan=plan, shape=shape)
    if as_json:
        show_json(found)
        return
    show_explanation(stdout(), found)
