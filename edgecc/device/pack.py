"""The agent as one file: a zip archive that Python 3.6 and later runs, the same bytes each time."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

SHEBANG = b"#!/usr/bin/env python3\n"
PACKAGES = ("edgecc.device.agent", "targets.tensorrt.device")
"""What goes in whole; a package that is not there is left out."""
MAIN = """\
import sys

if sys.version_info < (3, 6):
    sys.stderr.write("edgecc-device needs Python 3.6 or later, this is " + sys.version + "\\n")
    sys.exit(4)

from edgecc.device.agent.cli import main

sys.exit(main())
"""
NAME = "edgecc-device"
"""As the file is called, in bundles and on devices."""


def packed() -> bytes:
    """Return the agent."""
    files = {"__main__.py": MAIN.encode()}
    for package in PACKAGES:
        parts = package.split(".")
        folder = _folder(parts)
        sources = sorted(folder.glob("*.py")) if folder else []
        for depth in range(1, len(parts) if sources else 0):
            files["/".join([*parts[:depth], "__init__.py"])] = b""
        for source in sources:
            files["/".join([*parts, source.name])] = source.read_bytes()
    stream = io.BytesIO()
    stream.write(SHEBANG)  # first, so that the archive's offsets count it
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            # stored: what zlib makes of it differs between its releases
            archive.writestr(entry, data, zipfile.ZIP_STORED)
    return stream.getvalue()


def write(path: Path) -> str:
    """Write the agent as an executable; return its sha256."""
    data = packed()
    path.write_bytes(data)
    path.chmod(0o755)
    return hashlib.sha256(data).hexdigest()


def _folder(parts: list[str]) -> Path | None:
    """Where a package's sources lie, without importing them: they are the device's."""
    found = importlib.util.find_spec(parts[0])
    for place in (found and found.submodule_search_locations) or ():
        folder = Path(place).joinpath(*parts[1:])
        if folder.is_dir():
            return folder
    return None
