"""edgecc explain: what would be done, or was done, to each convolution, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecc.cli import asked
from edgecc.cli.build import Shapes, TargetName
from edgecc.cli.console import AsJson, StageProgress, show_json, stdout, verb


@verb
def explain(
    model: Annotated[
        Path, typer.Argument(help="A model (what would be done) or a bundle (what was done).")
    ],
    target: TargetName = "host",
    passes: asked.Passes = None,
    plan: asked.Plan = None,
    macs: asked.Macs = None,
    params: asked.Params = None,
    latency: asked.Latency = None,
    energy: asked.Energy = None,
    max_error: asked.MaxError = None,
    max_drop: asked.MaxDrop = None,
    evaluation: asked.Eval = None,
    families: asked.Families = None,
    keep: asked.Keep = None,
    prices: asked.Prices = None,
    calib: asked.Calib = None,
    samples: asked.Samples = None,
    preprocess: asked.Preprocess = None,
    image_scale: asked.ImageScale = None,
    image_mean: asked.ImageMean = None,
    image_std: asked.ImageStd = None,
    image_channels: asked.ImageChannels = None,
    relu_aware: asked.ReluAware = None,
    shape: Shapes = None,
    as_json: AsJson = False,
) -> None:
    """Show per convolution what is chosen, at what price, and what is refused and why.

    [bold]Examples[/bold]

      edgecc explain model.onnx --passes "basis(energy=0.9)"

      edgecc explain model.onnx --macs 0.5 --calib photos

      edgecc explain model-host
    """
    from edgecc import bundle, job, preview
    from edgecc.report.explanation import show_explanation

    if model.is_dir():
        found = bundle.read(model)[0]
    else:
        request = asked.request(locals())
        with StageProgress(f"edgecc explain {model.name}", job.STAGES) as progress:
            found = preview.explain(model, target, request=request, shape=shape, progress=progress)
    if as_json:
        show_json(found)
        return
    show_explanation(stdout(), found)
