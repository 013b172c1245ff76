"""edgecc build: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecc.cli import asked
from edgecc.cli.console import AsJson, StageProgress, show_json, stderr, stdout, verb

if TYPE_CHECKING:
    from edgecc.job import Build
    from edgecc.request import Request

Model = Annotated[Path, typer.Argument(help="The ONNX model.", show_default=False)]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", metavar="INPUT:1,3,224,224", help="Fix the sizes of an input; repeatable."
    ),
]
TargetName = Annotated[str, typer.Option(help="A board, or host: see 'edgecc targets'.")]


@verb
def build(
    model: Model,
    target: TargetName = "host",
    backend: Annotated[
        str | None, typer.Option(help="onnxruntime, tvm, ... Default: the target's.")
    ] = None,
    fallback: Annotated[
        bool,
        typer.Option("--fallback", help="Run in onnxruntime what the backend cannot take."),
    ] = False,
    no_winograd: Annotated[
        bool,
        typer.Option(
            "--no-winograd", help="Sum every convolution over its window: slower, more exact."
        ),
    ] = False,
    tune: asked.Tune = None,
    rpc: asked.Rpc = None,
    precision: asked.Precision = None,
    dla: asked.Dla = None,
    tensorrt: asked.Tensorrt = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Measure on it (local, ssh://user@board, a name in devices.toml), and plan again "
            "until --latency holds there.",
            metavar="WHERE",
            rich_help_panel=asked.BUDGET,
        ),
    ] = None,
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
    out: Annotated[
        Path | None, typer.Option(help="The bundle's folder. Default: MODEL-TARGET here.")
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="An .npz with an array for each input, to verify with.", metavar="NPZ"),
    ] = None,
    debug_passes: Annotated[
        Path | None,
        typer.Option(help="Write and check the model after each pass, here.", metavar="FOLDER"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rewrite MODEL's convolutions, lower it for a target, and leave a bundle.

    [bold]Examples[/bold]

      edgecc build model.onnx --target host

      edgecc build model.onnx --target rpi4 --passes "dac(energy=0.95)" --shape input:1,3,224,224

      edgecc build model.onnx --target xavier --macs 0.5 --calib photos --preprocess inputs.toml

      edgecc build model.onnx --target host --plan model-host/plan.json

      edgecc build model.onnx --target rpi4 --latency 0.6 --device ssh://pi@board
    """
    from edgecc import job
    from edgecc.report.tables import show_build

    request = asked.request(locals())
    lowering: dict[str, Any] = {
        "backend": backend,
        "fallback": fallback,
        "winograd": not no_winograd,
        "tune": tune,
        "rpc": rpc,
        "precision": precision,
        "dla": dla,
        "tensorrt": tensorrt,
        "shape": shape,
        "inputs": inputs,
    }
    with StageProgress(f"edgecc build {model.name}", job.STAGES) as progress:
        if device is not None:
            built = _measured(model, target, device, request, out, progress, lowering)
        else:
            built = job.build(
                model,
                target,
                request=request,
                out=out,
                debug_passes=debug_passes,
                progress=progress,
                **lowering,
            )
    if as_json:
        show_json({"folder": str(built.folder), **built.report})
        return
    show_build(stdout(), stderr(), str(built.folder), built.report)


def _measured(
    model: Path,
    target: str,
    device: str,
    request: Request,
    out: Path | None,
    progress: StageProgress,
    lowering: dict[str, Any],
) -> Build:
    """Build until the device itself meets the budget; show how it was met."""
    from edgecc.measure.bench import Wish
    from edgecc.measure.loop import until_met
    from edgecc.report.measurement import show_tries

    folder = out if out is not None else Path(f"{model.stem}-{target}")
    closed = until_met(
        model,
        target,
        device,
        request,
        Wish(energy_s=None),
        out=folder,
        tell=progress,
        lowering=lowering,
    )
    show_tries(stderr(), [vars(each) for each in closed.tries])
    return closed.build
