"""edgecc build: the main job."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecc.cli import asked
from edgecc.cli.console import AsJson, StageProgress, show_json, stderr, stdout, verb

if TYPE_CHECKING:
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
    passes: asked.Passes = None,
    plan: asked.Plan = None,
    macs: asked.Macs = None,
    params: asked.Params = None,
    latency: asked.Latency = None,
    energy: asked.Energy = None,
    device: asked.Device = None,
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

      edgecc build model.onnx --target xavier --latency 0.6 --calib photos --device ssh://me@board
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
    title = f"edgecc build {model.name}"
    if device is not None:
        _on_device(title, device, model, target, request, lowering, out, as_json=as_json)
        return
    with StageProgress(title, job.STAGES) as progress:
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


def _on_device(
    title: str,
    device: str,
    model: Path,
    target: str,
    request: Request,
    lowering: dict[str, Any],
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Build what the device itself runs within the budget, and show both."""
    from edgecc import job
    from edgecc.measure.bench import Wish
    from edgecc.measure.loop import until_met
    from edgecc.report.measurement import show_measurement
    from edgecc.report.tables import show_build

    folder = out or Path(f"{model.stem}-{target}")
    with StageProgress(title, job.STAGES) as progress:
        closed = until_met(
            model, target, device, request, Wish(), out=folder, tell=progress, lowering=lowering
        )
    tries = [asdict(each) for each in closed.tries]
    if as_json:
        show_json({"folder": str(folder), **closed.build.report, "tries": tries})
        return
    show_build(stdout(), stderr(), str(folder), closed.build.report)
    show_measurement(stdout(), stderr(), closed.conclusion.data)
