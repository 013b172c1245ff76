"""The folder of one measurement, inside its bundle: everything raw, and what was made of it.

BUNDLE/trace/20261128-234500/
  record.jsonl       every event of the device, as it came
  raw/               logs and tables of the device's tools, verbatim
  environment.json   the host's side: which bundles, which device, which versions
  measurement.json   what was made of it
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from edgecc.bundle import TRACE
from edgecc.errors import UsageError

RECORD, ENVIRONMENT, MEASUREMENT, RAW = (
    "record.jsonl",
    "environment.json",
    "measurement.json",
    "raw",
)


@dataclass(frozen=True)
class Trace:
    """Where one measurement is kept."""

    folder: Path

    @classmethod
    def new(cls, bundle: Path) -> Trace:
        """Make a folder for a measurement that begins now. Errors: `edgecc.errors.UsageError`."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            folder = bundle / TRACE / (stamp + suffix)
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise UsageError(
                    f"cannot write to {folder.parent}: {error.strerror}",
                    hint="a measurement is kept in its bundle's folder: copy the bundle to where "
                    "you may write",
                ) from None
            return cls(folder)
        raise UsageError(f"{bundle / TRACE} has a thousand measurements of this second")

    @classmethod
    def of(cls, given: Path) -> Trace:
        """Find the measurement that a user means: its folder, a file in it, or a bundle (then the
        last one). Errors: `edgecc.errors.UsageError`.
        """
        folder = given.parent if given.is_file() else given
        if not (folder / RECORD).is_file() and (folder / TRACE).is_dir():
            found = sorted(path.parent for path in (folder / TRACE).glob(f"*/{RECORD}"))
            folder = found[-1] if found else folder
        if not (folder / RECORD).is_file():
            raise UsageError(
                f"there is no measurement at {given}",
                hint="give a bundle that was measured, or a folder in its trace/",
            )
        return cls(folder)

    @property
    def record(self) -> Path:
        """The events of the device."""
        return self.folder / RECORD

    def keep_environment(self, environment: Mapping[str, Any]) -> None:
        """Write what the host knows."""
        self._write(ENVIRONMENT, environment)

    def keep_measurement(self, measurement: Mapping[str, Any]) -> None:
        """Write what was made of the record."""
        self._write(MEASUREMENT, measurement)

    def environment(self) -> dict[str, Any]:
        """Return what the host knew; nothing where it was not written."""
        try:
            found = json.loads((self.folder / ENVIRONMENT).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def keep_raw(self, name: str, text: str) -> None:
        """Write what a tool of the device printed, under its name."""
        plain = PurePosixPath(name).name.lstrip(".") or "unnamed"
        (self.folder / RAW).mkdir(exist_ok=True)
        with (self.folder / RAW / plain).open("a") as file:
            file.write(text)

    def _write(self, name: str, data: Mapping[str, Any]) -> None:
        """Write beside, then rename: a file is old or new, never half."""
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")
        os.replace(partial, self.folder / name)


class Recorder:
    """Keeps the events of a session as they come; what came before an interruption is there."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._file: IO[str] | None = None
        self.lines = 0

    def __enter__(self) -> Recorder:
        self._file = self._trace.record.open("a")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def keep(self, event: Mapping[str, Any]) -> None:
        """Write an event, and a raw one into a file of its own besides."""
        assert self._file is not None, "used outside its block"
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()
        self.lines += 1
        if event.get("event") == "raw" and isinstance(event.get("text"), str):
            self._trace.keep_raw(str(event.get("name")), event["text"])
