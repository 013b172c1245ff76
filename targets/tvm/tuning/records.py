"""What was measured: a file of JSON lines, which a killed tuner or a full disk cannot spoil.

    {"target": "rpi4", "cpu": "cortex-a72", "tvm": "0.27.0.post1", "llvm": "22"}
    {"function": "51731dd6c0a8b4f3", "tile": [2, 1, 8], "chunk": 16, "us": 36.1, "own_us": 38.4,
     "device": "pi: Raspberry Pi 4 Model B, 4 threads"}
    {"function": "51731dd6c0a8b4f3", "tile": [1, 2, 8], "chunk": 16, "failed": "...", "device": ...}

A function goes by its structural hash before it is scheduled. `own_us` is our own choice, measured
in turns with the other: a device that grows warm slows both.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecc.errors import UsageError
from targets.tvm.tuning.space import Choice

WORTH = 0.97
"""A choice has to take less than this of our own one's time: measurements differ by a little."""


@dataclass(frozen=True)
class Record:
    """One choice for one function, as it was measured or failed."""

    function: str
    choice: Choice
    device: str
    us: float | None = None
    own_us: float | None = None
    failed: str | None = None

    @property
    def ratio(self) -> float:
        """The time it takes over our own choice's; 1 where it failed."""
        return 1.0 if self.us is None or self.own_us is None else self.us / self.own_us

    def line(self) -> str:
        """Return the record as a line of the file."""
        told: dict[str, Any] = {
            "function": self.function,
            "tile": list(self.choice.tile),
            "chunk": self.choice.chunk,
        }
        if self.failed is None:
            told |= {"us": self.us, "own_us": self.own_us}
        else:
            told |= {"failed": self.failed}
        return json.dumps({**told, "device": self.device}) + "\n"

    @classmethod
    def of(cls, data: dict[str, Any]) -> Record:
        """Read what `line` wrote. Errors: `ValueError`, `KeyError`, `TypeError`."""
        blocks, rows, columns = (int(size) for size in data["tile"])
        choice = Choice((blocks, rows, columns), int(data["chunk"]))
        function, device = str(data["function"]), str(data["device"])
        if "failed" in data:
            return cls(function, choice, device, failed=str(data["failed"]))
        us, own_us = float(data["us"]), float(data["own_us"])
        if not (0 < us < float("inf") and 0 < own_us < float("inf")):
            raise ValueError("a time that is none")
        return cls(function, choice, device, us, own_us)


@dataclass
class Database:
    """The records of one target, in the order in which they were made."""

    path: Path
    made_for: dict[str, str]
    """The target, its core, the versions of TVM and LLVM."""
    records: dict[str, dict[Choice, Record]] = field(default_factory=dict)
    """By function and choice."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, made_for: dict[str, str], *, must_exist: bool = False) -> Database:
        """Read the records at `path`, leaving out lines that are damaged.

        Errors: `UsageError` for what is no such file, or one of another target or version.
        """
        found = cls(path, made_for)
        try:
            lines = path.read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            if must_exist:
                raise UsageError(f"there is no {path} to tune from") from None
            return found
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
        damaged = [n for n, line in enumerate(lines, 1) if line and not found._take(line)]
        if damaged and must_exist and not found.records:
            raise UsageError(
                f"{path} holds no measured tiles", hint="give the tvm/tuning.jsonl of a bundle"
            )
        if damaged:
            found.notes.append(
                f"{path}: {len(damaged)} damaged line(s) left out, the first is {damaged[0]}"
            )
        return found

    def _take(self, line: str) -> bool:
        """Add what a line says; return whether it says anything."""
        try:
            data = json.loads(line)
            if "target" in data:
                self._check(data)
            else:
                self._keep(Record.of(data))
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        return True

    def _check(self, made_for: dict[str, Any]) -> None:
        for name, value in self.made_for.items():
            if made_for.get(name) != value:
                raise UsageError(
                    f"{self.path} was measured for {name} {made_for.get(name)}, "
                    f"this build is for {name} {value}",
                    hint="tune for this target, with --tune 200",
                )

    def _keep(self, record: Record) -> None:
        self.records.setdefault(record.function, {})[record.choice] = record

    def of(self, function: str) -> dict[Choice, Record]:
        """Return what is known of a function."""
        return self.records.get(function, {})

    def best(self, function: str) -> Record | None:
        """Return the choice that takes least of our own one's time, None where none is faster."""
        found = min(self.of(function).values(), key=lambda record: record.ratio, default=None)
        return found if found is not None and found.ratio < WORTH else None

    def add(self, record: Record) -> None:
        """Keep a record, in the file too as far as that can be written."""
        self._keep(record)
        try:
            self._append(record.line())
        except OSError as error:
            told = f"{self.path}: what is measured cannot be kept: {error.strerror}"
            if told not in self.notes:
                self.notes.append(told)

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                line = json.dumps(self.made_for) + "\n" + line
            else:
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else "\n" + line  # after a line cut short
            file.write(line.encode())

    def text(self, functions: list[str]) -> str:
        """Return the file's content for some functions alone."""
        lines = [r.line() for name in functions for r in self.of(name).values()]
        return "".join([json.dumps(self.made_for) + "\n", *lines])
