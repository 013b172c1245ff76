"""edgecc bench: how fast a bundle is on a device, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecc.cli.console import AsJson, StageProgress, show_json, stderr, stdout, verb

if TYPE_CHECKING:
    from edgecc.measure.bench import Wish
    from edgecc.measure.conclusion import Conclusion
    from edgecc.target import Tell

Device = Annotated[
    str, typer.Option(help="local, ssh://user@board, or a name in devices.toml.", metavar="WHERE")
]
Spread = Annotated[
    float,
    typer.Option(
        help="How much the runs of a bundle may vary, as a fraction, before they are not trusted.",
        metavar="FRACTION",
    ),
]


@verb
def bench(
    bundle: Annotated[Path, typer.Argument(help="The folder that 'edgecc build' left.")],
    device: Device = "local",
    devices: Annotated[
        str | None,
        typer.Option(
            help="The same on several of devices.toml at once: all of the bundle's target, or "
            "names with commas between.",
            metavar="all|NAMES",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Of Dask workers that somebody started, each named as its device.",
            metavar="ADDRESS",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Measured beside it, in turns: another bundle, or the original model, which is "
            "lowered as it is.",
            metavar="BUNDLE|MODEL",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Turns; a ratio takes three at least.")] = 5,
    seconds: Annotated[float, typer.Option(help="Of timed runs, a bundle and round.")] = 5.0,
    energy_seconds: Annotated[
        float, typer.Option(help="Of runs under the power sensors, a bundle and round.")
    ] = 10.0,
    mode: Annotated[
        str | None, typer.Option(help="Power mode to set meanwhile.", metavar="NAME|ID")
    ] = None,
    no_pin: Annotated[bool, typer.Option("--no-pin", help="Leave the clocks alone.")] = False,
    no_energy: Annotated[
        bool, typer.Option("--no-energy", help="Leave out the runs under the power sensors.")
    ] = False,
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Leave out the times of single layers.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="Default: the runner's own.")] = None,
    spread: Spread = 0.05,
    as_json: AsJson = False,
) -> None:
    """Measure BUNDLE on a device, beside a baseline where one is given.

    Everything that was recorded is kept in the bundle's trace/. What cannot be trusted is not
    reported: exit code 7, and the reason.

    [bold]Examples[/bold]

      edgecc bench model-host

      edgecc bench model-rpi4 --device ssh://pi@board --against model.onnx

      edgecc bench model-xavier --device xavier-1 --against model.onnx --mode MAXN

      edgecc bench model-rpi4 --devices all --against model.onnx
    """
    from edgecc.measure import bench as measuring
    from edgecc.measure.trust import Limits

    wish = measuring.Wish(
        rounds=rounds,
        seconds=seconds,
        energy_s=None if no_energy else energy_seconds,
        mode=mode,
        pin=not no_pin,
        threads=threads,
        profile=not no_profile,
        limits=Limits(spread=spread),
    )
    with StageProgress(f"edgecc bench {bundle.name}", ()) as progress:

        def tell(text: str) -> None:
            progress(f"measure: {text}")

        if devices is None:
            found = measuring.bench(bundle, device, wish, against=against, tell=tell)
        else:
            found = on_many(bundle, devices, wish, against, tell, scheduler)
    show(found, as_json=as_json)


def on_many(
    bundle: Path,
    asked: str,
    wish: Wish,
    against: Path | None,
    tell: Tell,
    scheduler: str | None,
) -> Conclusion:
    """Measure on several boards at once, and merge what they recorded."""
    from edgecc.device.connect import devices
    from edgecc.measure.candidates import entrants
    from edgecc.measure.fleet import chosen, on_each
    from edgecc.measure.merging import merge

    with entrants(bundle, against, tell) as found:
        boards = chosen(asked, devices(), found.target)
        fleet = on_each(boards, found, bundle, wish, tell=tell, scheduler=scheduler)
        return merge(fleet, found, bundle, wish.limits)


def show(found: Conclusion, *, as_json: bool) -> None:
    """Show a measurement that can be trusted. Errors: `edgecc.errors.UnstableError`."""
    from edgecc.report.measurement import show_measurement

    found.demand()
    if as_json:
        show_json({"folder": str(found.trace.folder), **found.data})
        return
    show_measurement(stdout(), stderr(), found.data)
    stdout().print(f"\nrecord  {found.trace.record}")


def shown(found: list[Conclusion]) -> list[dict[str, Any]]:
    """Return measurements as plain data, with their folders."""
    return [{"folder": str(each.trace.folder), **each.data} for each in found]
