"""edgecc import: records that were brought back from a device by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecc.cli.bench import Spread, show, shown
from edgecc.cli.console import AsJson, show_json, stdout, verb


@verb
def import_(
    bundle: Annotated[Path, typer.Argument(help="The bundle that they were recorded with.")],
    records: Annotated[
        list[Path],
        typer.Argument(help="What 'edgecc-device' wrote: record-....jsonl.", show_default=False),
    ],
    spread: Spread = 0.05,
    as_json: AsJson = False,
) -> None:
    """Take RECORDS from a device into BUNDLE's trace/, and analyse them as 'edgecc bench' does.

    [bold]Examples[/bold]

      edgecc import model-xavier record-20261128-234500.jsonl
    """
    from edgecc.measure.bring import bring, bring_engine, engine_record
    from edgecc.measure.trust import Limits

    engines, found = [], []
    for record in records:
        if (told := engine_record(record)) is not None:
            engines.append(bring_engine(bundle, record, told))
            continue
        found.append(bring(bundle, record, Limits(spread=spread)))
    if as_json:
        for each in found:
            each.demand()
        show_json({"measurements": shown(found), "engines": [str(path) for path in engines]})
        return
    for path in engines:
        stdout().print(f"engine  {path}")
    for each in found:
        show(each, as_json=False)
