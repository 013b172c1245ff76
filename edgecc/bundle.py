"""The bundle: one folder with all that a device needs, and the proof that nothing in it changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecc.errors import ModelError, UsageError
from edgecc.model import sha256
from edgecc.target import Artifact

MODEL = "model.onnx"
PLAN = "plan.json"
REPORT = "report.json"
MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
EXTERNAL_FROM_BYTES = 1 << 30
"""Weights beyond this go into a file of their own: protobuf ends at 2 GB."""
TRACE = "trace"
"""The folder of what was measured with the bundle: it is no part of what was built."""
ENGINE = "engine.json"
"""Which engine of the device's cache belongs to the bundle, written there."""
AGAIN = "build it again"
UNTIMED = ("timings_s",)
"""What differs between two builds of the same model with the same options."""


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out`; it takes the place of `out` when the block ends well.

    When it does not, for whatever reason, nothing is left of it, and `out` is as it was.
    Errors: `edgecc.errors.UsageError` where `out` is something that is not a bundle.
    """
    out = out.resolve()
    check_place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise UsageError(f"cannot write to {out.parent}: {error.strerror}") from None
    try:
        yield folder
        folder.chmod(0o755)
        _put(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_place(out: Path) -> None:
    """Refuse to replace anything but a bundle. Errors: `edgecc.errors.UsageError`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise UsageError(
            f"{out} exists and is not a bundle of edgecc", hint="give another folder with --out"
        )
    listed = _read_json(out, MANIFEST).get("files", {})
    foreign = _present(out) - set(listed)
    if foreign:
        raise UsageError(
            f"the bundle {out} holds a file that edgecc did not put there: {min(foreign)}",
            hint="move it away, or give another folder with --out",
        )


def _put(folder: Path, out: Path) -> None:
    """Move `folder` to `out`; what was there comes back if that fails."""
    check_place(out)
    old = folder.with_suffix(".old")
    try:
        if out.exists():
            out.rename(old)
        folder.rename(out)
    except BaseException as error:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)
        if isinstance(error, OSError):
            raise UsageError(f"cannot move the bundle to {out}: {error.strerror}") from None
        raise
    _keep_trace(old, out)
    shutil.rmtree(old, ignore_errors=True)


def _keep_trace(old: Path, out: Path) -> None:
    """Take along what was measured: nobody builds that again."""
    if (old / TRACE).is_dir():
        try:
            (old / TRACE).rename(out / TRACE)
        except OSError as error:
            raise UsageError(
                f"cannot move the measurements {old / TRACE} to {out}: {error.strerror}",
                hint="move them by hand",
            ) from None


def save_model(model: ir.Model, path: Path) -> Path:
    """Write the model to `path`, its initialisers in the order of their first use.

    Weights of more than `EXTERNAL_FROM_BYTES` go beside it, into `path` with `.data` behind.
    """
    graph = model.graph
    used = {
        v.name: v for node in graph for v in node.inputs if v is not None and v.is_initializer()
    }
    rest = {name: v for name, v in graph.initializers.items() if name not in used}
    graph.initializers.clear()
    for value in [*used.values(), *rest.values()]:
        if value.graph is None or value.graph is graph:
            graph.register_initializer(value)
    values = [value for each in model.graphs() for value in each.initializers.values()]
    tensors = [value.const_value for value in values]
    large = sum(t.nbytes for t in tensors if t is not None) > EXTERNAL_FROM_BYTES
    if not large:
        ir.external_data.load_to_model(model)
    ir.save(model, path, external_data=f"{path.name}.data" if large else None)
    return path


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write readable JSON; numbers that JSON does not know are an error."""
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")


def write_manifest(folder: Path, versions: dict[str, str], model_sha256: str) -> None:
    """Write the digest of every file, and the versions of all that made them.

    `content_sha256` is the digest of the bundle but for its timings: two builds of the same model
    with the same options and versions have the same.
    """
    files = {
        name: {"sha256": sha256(folder / name), "size_bytes": (folder / name).stat().st_size}
        for name in sorted(_present(folder))
    }
    report = json.loads((folder / REPORT).read_text())
    untimed = {key: value for key, value in report.items() if key not in UNTIMED}
    content = {name: file["sha256"] for name, file in files.items() if name != REPORT}
    content[REPORT] = hashlib.sha256(json.dumps(untimed, sort_keys=True).encode()).hexdigest()
    write_json(
        folder / MANIFEST,
        {
            "schema_version": SCHEMA_VERSION,
            "model_sha256": model_sha256,
            "versions": versions,
            "content_sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
            "files": files,
        },
    )


def read(folder: Path) -> tuple[dict[str, Any], Artifact]:
    """Return the report of a bundle and what its backend left.

    Errors: `edgecc.errors.ModelError` for a folder that is not a whole bundle.
    """
    report = _read_json(folder, REPORT)
    try:
        return report, Artifact.from_json(report["artifact"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder / REPORT} is damaged: {error!r}", hint=AGAIN) from None


def _present(folder: Path) -> set[str]:
    """The files of a bundle, but for the manifest and what came to it after it was built."""
    later = (folder / MANIFEST, folder / ENGINE)
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path not in later and folder / TRACE not in path.parents
    }


def input_shapes(report: dict[str, Any]) -> dict[str, list[int]]:
    """Return the shapes of the inputs that a report's figures are for.

    Errors: `edgecc.errors.ModelError` for a damaged report.
    """
    try:
        shapes: dict[str, list[int]] = report["verify"]["inputs"]["shapes"]
        return {name: [int(size) for size in shape] for name, shape in shapes.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"the report is damaged: {error!r}", hint=AGAIN) from None


def check(folder: Path) -> dict[str, Any]:
    """Compare every file with the manifest; return the manifest.

    Errors: `edgecc.errors.ModelError` for a file that is missing, changed or not listed.
    """
    manifest = _read_json(folder, MANIFEST)
    listed = manifest.get("files")
    entries = listed.values() if isinstance(listed, dict) else [None]
    if not all(isinstance(entry, dict) and "sha256" in entry for entry in entries):
        raise ModelError(f"{folder / MANIFEST} is damaged", hint=AGAIN)
    assert isinstance(listed, dict)
    present = _present(folder)
    wrong = [f"{name} is missing" for name in sorted(listed.keys() - present)]
    wrong += [f"{name} is not in the manifest" for name in sorted(present - listed.keys())]
    wrong += [
        f"{name} has changed"
        for name in sorted(listed.keys() & present)
        if sha256(folder / name) != listed[name]["sha256"]
    ]
    if wrong:
        raise ModelError(
            f"the bundle {folder} is not as it was built: {'; '.join(wrong)}", hint=AGAIN
        )
    return manifest


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelError(f"there is no bundle at {folder}", hint="edgecc build makes one")
    try:
        data = json.loads((folder / name).read_text())
    except OSError as error:
        raise ModelError(f"{folder} is not a bundle of edgecc: {name}: {error.strerror}") from None
    except ValueError as error:
        raise ModelError(f"{folder / name} is damaged: {error}") from None
    if not isinstance(data, dict):
        raise ModelError(f"{folder / name} is damaged: it is no JSON object")
    return data
