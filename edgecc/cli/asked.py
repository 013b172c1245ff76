"""The options that say how convolutions are rewritten: the same for build and explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgecc.request import Request

BUDGET, CALIBRATION, TUNING, ENGINE = "Budget", "Calibration", "Tuning", "Engine"

Passes = Annotated[
    str | None,
    typer.Option(
        help='Rewrites, as "dac(rank=4)" or "basis(energy=0.9)": the energy of the outputs with '
        '--calib, of the weights without. "" rewrites nothing. Default: the target\'s.'
    ),
]
Plan = Annotated[
    Path | None, typer.Option(help="A plan.json, instead of --passes.", show_default=False)
]
Macs = Annotated[
    str | None,
    typer.Option(
        help="Multiply-adds to keep, of the original: 0.5 or 50%.",
        metavar="FRACTION",
        rich_help_panel=BUDGET,
    ),
]
Params = Annotated[
    str | None,
    typer.Option(help="Parameters to keep.", metavar="FRACTION", rich_help_panel=BUDGET),
]
Latency = Annotated[
    str | None,
    typer.Option(
        help="Time of the convolutions to keep, at the target's prices.",
        metavar="FRACTION",
        rich_help_panel=BUDGET,
    ),
]
Energy = Annotated[
    str | None,
    typer.Option(
        help="Energy of the convolutions to keep, at the target's prices.",
        metavar="FRACTION",
        rich_help_panel=BUDGET,
    ),
]
MaxError = Annotated[
    str | None,
    typer.Option(
        help="The smallest network whose outputs move no more than this, relative, RMS.",
        metavar="E",
        rich_help_panel=BUDGET,
    ),
]
MaxDrop = Annotated[
    str | None,
    typer.Option(
        help="The smallest network that loses no more than this of --eval: 1% or 0.01.",
        metavar="DROP",
        rich_help_panel=BUDGET,
    ),
]
Eval = Annotated[
    str | None,
    typer.Option(
        "--eval",
        help="Your metric, greater is better: a function of a session.",
        metavar="FILE.py:FUNCTION",
        rich_help_panel=BUDGET,
    ),
]
Families = Annotated[
    str | None,
    typer.Option(
        help='The rewrites a plan may choose, as "basis, spatial_svd"; with the options given, as '
        '"msgc(heads=8)". Default: all.',
        rich_help_panel=BUDGET,
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        help="Convolutions that keep their form in a plan, by name: 'conv1, *expand1x1*'.",
        metavar="PATTERNS",
        rich_help_panel=BUDGET,
    ),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        help="Measured layer times of the target (JSON), for a budget; 'model' for those of its "
        "data sheet. Default: what 'edgecc bench' measured, where it did.",
        metavar="FILE",
        rich_help_panel=BUDGET,
    ),
]
Calib = Annotated[
    str | None,
    typer.Option(
        help="Samples without labels: an .npz, a folder of images, or 'synthetic'.",
        metavar="SOURCE",
        rich_help_panel=CALIBRATION,
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(help="How many are taken at most. Default: 256.", rich_help_panel=CALIBRATION),
]
Preprocess = Annotated[
    Path | None,
    typer.Option(
        help="How images become inputs: scale, mean, std, channels, layout, resize (TOML).",
        metavar="FILE",
        rich_help_panel=CALIBRATION,
    ),
]
ImageScale = Annotated[
    float | None,
    typer.Option(help="Pixels of 0 to 255 times this.", rich_help_panel=CALIBRATION),
]
ImageMean = Annotated[
    str | None,
    typer.Option(help="Then minus this, by channel.", metavar="R,G,B", rich_help_panel=CALIBRATION),
]
ImageStd = Annotated[
    str | None,
    typer.Option(help="Then over this.", metavar="R,G,B", rich_help_panel=CALIBRATION),
]
ImageChannels = Annotated[
    str | None,
    typer.Option(help="RGB, BGR or grey.", metavar="ORDER", rich_help_panel=CALIBRATION),
]
ReluAware = Annotated[
    bool | None,
    typer.Option(
        "--relu-aware/--no-relu-aware",
        help="Fit what the ReLU behind a convolution lets through (the default), or all of it: "
        "faster, and worse.",
        rich_help_panel=CALIBRATION,
    ),
]

Tune = Annotated[
    str | None,
    typer.Option(
        help="Measure so many tiles on the device, and take the faster ones; or a file of those "
        "measured, or a bundle that has one.",
        metavar="TRIALS",
        rich_help_panel=TUNING,
    ),
]
Rpc = Annotated[
    str | None,
    typer.Option(
        help="The device's TVM RPC server; 'local' is this machine (the default for host).",
        metavar="HOST:PORT",
        rich_help_panel=TUNING,
    ),
]

Precision = Annotated[
    str | None,
    typer.Option(
        help="fp32, fp16, int8 (takes --calib), or best: int8 where it costs little. Default: the "
        "board's.",
        metavar="NAME",
        rich_help_panel=ENGINE,
    ),
]
Dla = Annotated[
    int | None,
    typer.Option(
        help="Run on this core of the board's DLA, and on the GPU what it cannot take.",
        metavar="CORE",
        rich_help_panel=ENGINE,
    ),
]
Tensorrt = Annotated[
    str | None,
    typer.Option(
        help="TensorRT's release on the board, as 8.2. Default: the newest there is for it.",
        metavar="RELEASE",
        rich_help_panel=ENGINE,
    ),
]


def request(given: dict[str, Any]) -> Request:
    """Make a request from a verb's parameters by name. Errors: `edgecc.errors.UsageError`."""
    from edgecc.calibration.preprocessing import Preprocessing
    from edgecc.request import Request

    names = [
        *("passes", "plan", "macs", "params", "latency", "energy", "max_error", "max_drop"),
        *("evaluation", "families", "keep", "prices", "calib", "samples", "relu_aware"),
    ]
    images = {key: given[f"image_{key}"] for key in ("scale", "mean", "std", "channels")}
    preprocessing = Preprocessing.of(given["preprocess"], **images)
    return Request.of(**{name: given[name] for name in names}, preprocessing=preprocessing)
