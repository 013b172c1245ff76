"""Which devices there are: `local`, `ssh://user@host`, or a name of `devices.toml`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgecc.device.local import Local
from edgecc.device.ssh import Ssh
from edgecc.device.transport import Transport
from edgecc.errors import UsageError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "devices.toml"
LOCAL = "local"
EXAMPLE = 'as in: [xavier-1] then url = "ssh://nvidia@192.168.1.7" and target = "xavier"'

WRONG = {
    "missing": "it is not there",
    "string_pattern_mismatch": "it is neither local nor ssh://user@host",
    "extra_forbidden": "there is no such field; there are url, target, ssh_config, python, note",
    "model_type": "it is no table",
}
"""What is wrong with a device of the file, by pydantic's names."""


class Device(BaseModel):
    """One device of `devices.toml`; its name heads the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^(local$|ssh://)")
    target: str | None = None
    """The board that it is, as in `edgecc targets`."""
    ssh_config: Path | None = None
    """Another configuration of ssh than ~/.ssh/config."""
    python: str | None = None
    """The Python there that has onnxruntime, as "/home/pi/venv/bin/python"; None is `python3`."""
    note: str = ""
    """Anything: where it stands, whom it belongs to."""


def places() -> list[Path]:
    """Return where `devices.toml` is looked for, the first that is there being taken."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return [Path(FILE), Path(home) / "edgecc" / FILE]


def devices(path: Path | None = None) -> dict[str, Device]:
    """Return the devices of a file, or of the user's; none where there is no file.

    Errors: `edgecc.errors.UsageError` for a file that cannot be read.
    """
    if path is None:
        path = next((place for place in places() if place.is_file()), None)
        if path is None:
            return {}
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint=EXAMPLE) from None
    return {name: _device(path, name, table) for name, table in tables.items()}


def _device(path: Path, name: str, table: object) -> Device:
    try:
        return Device.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        about = f"{path}: device {name}" + (f", {field}" if field else "")
        told = WRONG.get(first["type"], first["msg"])
        raise UsageError(f"{about}: {told}", hint=EXAMPLE) from None


def connect(text: str, path: Path | None = None) -> Transport:
    """Return the way to a device; nothing is sent before it is used.

    Errors: `edgecc.errors.UsageError` for an address that is none, and for an unknown name.
    """
    if text == LOCAL:
        return Local()
    if "://" in text:
        return Ssh(text)
    known = devices(path)
    if text not in known:
        hint = did_you_mean(text, [LOCAL, *known])
        if "@" in text or "." in text:
            hint = f"did you mean ssh://{text}?"
        raise UsageError(f"there is no device named {text!r}", hint=hint)
    device = known[text]
    if device.url == LOCAL:
        return Local()
    way = Ssh(device.url, config=device.ssh_config, name=text)
    way.python = device.python
    return way
