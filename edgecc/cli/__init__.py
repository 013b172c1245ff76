"""The command line. One file a verb; `console.py` is how all of them speak.

Exit codes: 0 ok, 1 internal, 2 usage, 3 model, 4 device, 5 build, 6 budget not met,
7 measurement unstable, 130 interrupted.
"""

from __future__ import annotations

import signal
from types import FrameType

import typer

from edgecc.cli import (
    bench,
    build,
    compare,
    console,
    devices,
    explain,
    import_,
    inspect,
    lists,
    power,
    verify,
)

EPILOG = (
    "Exit codes: 0 ok, 1 internal, 2 usage, 3 model, 4 device, 5 build, 6 budget not met, "
    "7 measurement unstable, 130 interrupted."
)
app = typer.Typer(
    name="edgecc",
    help="Take a trained ONNX network to an edge device: rewrite, lower, prove.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command(name="build", epilog=EPILOG)(build.build)
app.command(name="inspect")(inspect.inspect)
app.command(name="explain")(explain.explain)
app.command(name="passes")(lists.passes)
app.command(name="targets")(lists.targets)
app.command(name="verify")(verify.verify)
app.command(name="bench", epilog=EPILOG)(bench.bench)
app.command(name="compare")(compare.compare)
app.command(name="import")(import_.import_)
app.command(name="devices")(devices.devices)
app.command(name="doctor")(devices.doctor)
app.command(name="power")(power.power)


@app.callback(invoke_without_command=True)
def edgecc(
    version: bool = typer.Option(False, "--version", help="Show the version and stop."),
) -> None:
    """Take a trained ONNX network to an edge device: rewrite, lower, prove."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"edgecc {installed('edgecc')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a build that is terminated cleans up as an interrupted one does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, _interrupt)
    app()


def _interrupt(number: int, frame: FrameType | None) -> None:
    console.Interruption.seen = True
    raise KeyboardInterrupt
