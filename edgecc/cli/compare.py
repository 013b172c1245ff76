"""edgecc compare: measurements side by side, and whether they may be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecc.cli.bench import Spread
from edgecc.cli.console import AsJson, show_json, stderr, stdout, verb


@verb
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Bundles (their last measurement), folders in trace/, or records.",
            show_default=False,
        ),
    ],
    spread: Spread = 0.05,
    as_json: AsJson = False,
) -> None:
    """Show measurements in one table, with a warning for every condition that differs.

    [bold]Examples[/bold]

      edgecc compare model-xavier other-xavier

      edgecc compare model-host/trace/20261128-*
    """
    from edgecc.measure.compare import measurements
    from edgecc.measure.trust import Limits
    from edgecc.report.measurement import differences, show_comparison

    found, without = measurements(runs, Limits(spread=spread))
    if as_json:
        told = list(differences(found))
        show_json({"runs": found, "differences": told, "without_times": without})
        return
    show_comparison(stdout(), stderr(), found)
    for why in without.values():
        stderr().print(f"warning: {why}")
