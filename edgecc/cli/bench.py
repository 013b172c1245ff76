"""edgecc bench: how fast a bundle is on a device, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecc.cli.console import AsJson, StageProgress, show_json, stderr, stdout, verb

if TYPE_CHECKING:
    from edgecc.measure.conclusion import Conclusion

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

        found = measuring.bench(bundle, device, wish, against=against, tell=tell)
    show(found, as_json=as_json)


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
