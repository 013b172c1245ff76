"""The command, run in this process, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from residual import FAMILIES
from typer.testing import CliRunner

from edgecc.cli import app

FEW = ("--families", FAMILIES)
Place = tuple[Path, Path, Path]
"""A model, its samples, and where the bundle goes."""


def edgecc(*arguments: object) -> Any:
    """The command in this process, as most of its time is starting."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def words(text: str) -> str:
    return " ".join(text.split())


def build(place: Place, *arguments: object) -> dict[str, Any]:
    """Build, with the samples, and read the record."""
    model, calib, out = place
    result = edgecc("build", model, "--calib", calib, "--out", out, "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found.pop("folder") == str(out)
    assert json.loads((out / "report.json").read_text()) == found
    assert isinstance(found, dict)
    return found
