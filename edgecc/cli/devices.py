"""edgecc devices, edgecc doctor: which devices there are, and what they lack."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecc.cli.bench import Device
from edgecc.cli.console import AsJson, show_json, stdout, verb


@verb
def devices(as_json: AsJson = False) -> None:
    """List the devices of devices.toml, and whether they answer.

    [bold]Examples[/bold]

      edgecc devices
    """
    from edgecc.device.connect import devices as known
    from edgecc.device.connect import places
    from edgecc.measure.readiness import look
    from edgecc.report.devices import show_devices

    found = [each.to_json() for each in look(known())]
    if as_json:
        show_json(found)
        return
    show_devices(stdout(), found, [str(path) for path in places()])


@verb
def doctor(
    device: Device = "local",
    target: Annotated[
        str | None, typer.Option(help="What it should be. Default: as devices.toml says.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a device is, what it lacks, and the command that mends it.

    [bold]Examples[/bold]

      edgecc doctor --device ssh://nvidia@board --target xavier
    """
    from edgecc import catalog
    from edgecc.device.connect import devices as known
    from edgecc.errors import DeviceError
    from edgecc.measure.readiness import ask
    from edgecc.report.devices import show_device

    listed = known().get(device)
    board = target or (listed.target if listed else None)
    if board is not None:
        catalog.target(board)
    found = ask(device, listed.url if listed else device, board)
    if found.identity is None:
        message, _, hint = str(found.why).partition("\n  hint: ")
        raise DeviceError(message, hint=hint or None)
    if as_json:
        show_json(found.to_json())
        return
    show_device(stdout(), found.to_json())
