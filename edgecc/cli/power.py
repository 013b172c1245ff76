"""edgecc power: what a saved log of tegrastats tells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecc.cli.console import AsJson, show_json, stderr, stdout, verb


@verb
def power(
    log: Annotated[Path, typer.Argument(help="What tegrastats printed.", show_default=False)],
    runs: Annotated[
        int | None, typer.Option(help="How often each load ran the network.", min=1)
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The board; found by the names of its rails if left away.")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Seconds from line to line. Default: by the dates in the log, or else 1.",
            min=0.001,
            max=3600,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the loads in a log of tegrastats, and tell their power and energy.

    [bold]Examples[/bold]

      edgecc power tegrastats.log --runs 1000

      edgecc power tegrastats.log --target xavier --json
    """
    from edgecc import catalog
    from edgecc.measure.log_energy import analyse
    from edgecc.report.power import show_power

    known = {name: board.power for name, board in catalog.targets().items() if board.power}
    if target is not None:
        catalog.target(target)
    found = analyse(log, known, runs=runs, target=target, interval_s=interval)
    if as_json:
        show_json(found)
        return
    show_power(stdout(), stderr(), found)
