"""edgecc verify: whether a bundle still is, and computes, what was built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecc.cli.console import AsJson, show_json, stdout, verb


@verb
def verify(
    bundle: Annotated[Path, typer.Argument(help="The folder that 'edgecc build' left.")],
    against: Annotated[
        Path | None,
        typer.Option(help="The original model, to compare the outputs with.", metavar="MODEL"),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="An .npz with an array for each input.", metavar="NPZ")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's files, run it where this machine can, and compare the numbers.

    [bold]Examples[/bold]

      edgecc verify model-host

      edgecc verify model-host --against model.onnx --inputs images.npz
    """
    from edgecc.report.tables import show_verification
    from edgecc.verify import verify_bundle

    found = verify_bundle(bundle, against=against, own=inputs)
    if as_json:
        show_json(found)
        return
    show_verification(stdout(), str(bundle), found)
