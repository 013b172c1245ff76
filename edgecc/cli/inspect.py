"""edgecc inspect: what a model is made of."""

from __future__ import annotations

from edgecc.cli.build import Model, Shapes
from edgecc.cli.console import AsJson, show_json, stdout, verb


@verb
def inspect(model: Model, shape: Shapes = None, as_json: AsJson = False) -> None:
    """Show MODEL's inputs, operators and convolutions, and what each costs.

    [bold]Examples[/bold]

      edgecc inspect model.onnx

      edgecc inspect model.onnx --shape input:1,3,320,320 --json
    """
    from edgecc import preview
    from edgecc.report.tables import show_model

    found = preview.inspect(model, shape=shape)
    if as_json:
        show_json(found)
        return
    show_model(stdout(), found)
