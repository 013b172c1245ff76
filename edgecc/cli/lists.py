"""edgecc passes, edgecc targets: what there is."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Annotated, Any

import typer

from edgecc.cli.console import AsJson, show_json, stdout, verb


@verb
def passes(
    name: Annotated[str | None, typer.Argument(help="One pass, in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the passes with their options, or describe one.

    [bold]Examples[/bold]

      edgecc passes

      edgecc passes dac
    """
    from edgecc import catalog
    from edgecc.errors import UsageError, did_you_mean
    from edgecc.report.tables import show_passes

    known = catalog.passes()
    if name is not None and name not in known:
        raise UsageError(f"there is no pass named '{name}'", hint=did_you_mean(name, known))
    found = [_describe(kind) for key, kind in known.items() if name in (None, key)]
    if as_json:
        show_json(found)
        return
    show_passes(stdout(), found, whole=name is not None)


@verb
def targets(
    name: Annotated[str | None, typer.Argument(help="One target, in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the boards and the backends that serve them, or describe one board.

    [bold]Examples[/bold]

      edgecc targets

      edgecc targets xavier

      edgecc targets rpi4 --json
    """
    from edgecc import catalog
    from edgecc.report.boards import show_board
    from edgecc.report.tables import show_targets

    boards = [catalog.target(name)] if name else list(catalog.targets().values())
    found = [board.model_dump(exclude_none=True) for board in boards]
    for board, entry in zip(boards, found, strict=True):
        own = [each for each in catalog.jetpacks() if board.name in each.boards]
        entry.update({"jetpacks": [each.model_dump() for each in own]} if own else {})
    if as_json:
        show_json(found)
    elif name:
        show_board(stdout(), found[0])
    else:
        show_targets(stdout(), found)


def _describe(kind: Any) -> dict[str, Any]:
    return {
        "name": kind.name,
        "room": kind.room,
        "exact": kind.exact,
        "summary": (kind.__doc__ or "").strip().splitlines()[0],
        "options": {f.name: str(f.type) for f in fields(kind)},
        "text": (sys.modules[kind.__module__].__doc__ or "").strip(),
    }
