"""The bundles of a measurement: what is measured, and what it is compared with."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecc import bundle
from edgecc.device import description
from edgecc.errors import DeviceError, ModelError, UsageError
from edgecc.model import sha256
from edgecc.target import Target, Tell


@dataclass(frozen=True)
class Candidate:
    """One bundle that the device runs."""

    name: str
    """As tables call it."""
    folder: Path
    report: dict[str, Any]
    manifest: dict[str, Any]
    device: dict[str, Any]
    """What the device is told of it: device.json."""

    @classmethod
    def read(cls, folder: Path, name: str | None = None) -> Candidate:
        """Read a bundle and check that it is whole. Errors: `edgecc.errors.ModelError`."""
        manifest = bundle.check(folder)
        report, _ = bundle.read(folder)
        try:
            device = json.loads((folder / description.NAME).read_text())
        except (OSError, ValueError) as error:
            raise ModelError(
                f"the bundle {folder} has no readable {description.NAME} for its device: {error}",
                hint=bundle.AGAIN,
            ) from None
        return cls(name or folder.resolve().name, folder, report, manifest, device)

    @property
    def digest(self) -> str:
        """Of all that was built."""
        return str(self.manifest["content_sha256"])

    @property
    def place(self) -> str:
        """What its folder is called on a device (`edgecc.device.remote.Remote.put`)."""
        return sha256(self.folder / bundle.MANIFEST)[:16]

    @property
    def backend(self) -> str:
        """What runs it."""
        return str(self.device["backend"])

    @property
    def target(self) -> str:
        """The name of the board that it was built for."""
        return str(self.report["target"])

    def describe(self) -> dict[str, Any]:
        """What a record's reader must know of it."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "model": self.report["model"],
            "rewrites": self.report["rewrites"],
            "macs": self.report["macs"],
            "backend": self.backend,
            "target": self.target,
            "content_sha256": self.digest,
            "versions": self.manifest.get("versions"),
            "inputs": self.device.get("inputs", []),
            "engine": self.device.get("engine"),
        }

    @property
    def assumed(self) -> tuple[str, ...]:
        """What open sizes of its inputs were taken for."""
        assumed = self.report["shapes"]["assumed"]
        return tuple(
            f"input '{name}' has open sizes; measured with {told}" for name, told in assumed.items()
        )

    @contextlib.contextmanager
    def as_built(self) -> Iterator[Path]:
        """Yield a folder of links to what was built, without what was measured since."""
        with tempfile.TemporaryDirectory() as scratch:
            for name in [*self.manifest["files"], bundle.MANIFEST]:
                link = Path(scratch) / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((self.folder / name).resolve())
            yield Path(scratch)


@dataclass(frozen=True)
class Entrants:
    """What runs in turns."""

    bundles: dict[str, Candidate]
    """By label: A alone, or the baseline as A and the bundle as B."""
    notes: tuple[str, ...] = ()
    """What a reader of their measurement should know."""

    @property
    def target(self) -> str:
        """The board that they are for."""
        return next(reversed(self.bundles.values())).target

    @property
    def shapes(self) -> dict[str, list[int]]:
        """The input sizes that they are measured on."""
        report = next(reversed(self.bundles.values())).report
        return {name: list(sizes) for name, sizes in report["shapes"]["inputs"].items()}

    @property
    def folders(self) -> dict[str, Path]:
        """Where they lie, by label."""
        return {label: candidate.folder for label, candidate in self.bundles.items()}


@contextlib.contextmanager
def entrants(folder: Path, against: Path | None, tell: Tell) -> Iterator[Entrants]:
    """Yield the bundle, and what it is compared with.

    An ONNX model as baseline is lowered as the bundle was, its convolutions as they are.
    Errors: `edgecc.errors.EdgeccError` and its kinds.
    """
    own = Candidate.read(folder)
    if against is None:
        yield Entrants({"A": own}, own.assumed)
    elif against.is_dir():
        baseline = Candidate.read(against)
        yield Entrants({"A": _apart(baseline, own), "B": own}, _differences(baseline, own))
    elif against.is_file():
        with tempfile.TemporaryDirectory() as scratch:
            baseline = _as_it_is(against, own, Path(scratch), tell)
            yield Entrants({"A": baseline, "B": own}, _differences(baseline, own))
    else:
        raise UsageError(f"there is no model or bundle {against}", hint="--against MODEL.onnx")


def _differences(baseline: Candidate, own: Candidate) -> tuple[str, ...]:
    """In what, besides the rewrite, a baseline differs from the bundle."""
    notes = [*own.assumed]
    if baseline.report["model"]["sha256"] != own.report["model"]["sha256"]:
        notes.append(f"{own.name} and {baseline.name} are not made from the same model")
    for what in ("backend", "target"):
        one, other = getattr(baseline, what), getattr(own, what)
        if one != other:
            notes.append(f"{baseline.name} has the {what} {one}, and {own.name} has {other}")
    return tuple(notes)


def _apart(baseline: Candidate, own: Candidate) -> Candidate:
    """Two bundles of the same name are told apart by their paths."""
    if baseline.name != own.name:
        return baseline
    name = str(baseline.folder)
    return Candidate(name, baseline.folder, baseline.report, baseline.manifest, baseline.device)


def _as_it_is(model: Path, own: Candidate, scratch: Path, tell: Tell) -> Candidate:
    """Lower the original model for the bundle's target, backend and input sizes."""
    from edgecc import job

    artifact = own.report["artifact"]
    inputs = {name: tuple(shape) for name, shape in own.report["shapes"]["inputs"].items()}
    engine = own.device.get("engine") or {}
    if engine.get("precision") == "int8":
        raise UsageError(
            f"{own.name} is in INT8, and {model.name} can be lowered so only with its samples",
            hint='build it too, with the same --calib and --passes "", and give that bundle',
        )
    tell(f"lowering {model.name} as it is")
    built = job.build(
        model,
        own.target,
        backend=own.backend,
        passes="",
        shape=inputs,
        fallback=any(name.endswith("segments.json") for name in artifact["files"]),
        winograd=artifact["details"].get("winograd") != "off",
        precision=engine.get("precision"),
        dla=engine.get("dla"),
        tensorrt=next(iter(engine.get("tensorrt") or ()), None),
        out=scratch / "original",
    )
    return Candidate.read(built.folder, model.name)


def check_fits(candidate: Candidate, identity: Mapping[str, Any], device: str) -> None:
    """Refuse a bundle that the device cannot run.

    Errors: `edgecc.errors.DeviceError` for another architecture or board.
    """
    wanted, found = candidate.device.get("machine"), identity.get("machine")
    if wanted not in (None, found):
        raise DeviceError(
            f"the bundle {candidate.name} is for {candidate.target} ({wanted}), and {device} is "
            f"{found}",
            hint="build it with the --target of that device",
        )
    board = candidate.device.get("board") or {}
    soc, model = identity.get("soc"), identity.get("model")
    if _fits(identity, board.get("soc"), board.get("models") or ()):
        return
    raise DeviceError(
        f"the bundle {candidate.name} is for {board.get('title') or candidate.target} "
        f"({board['soc']}), and {device} is {model or 'no Jetson'} ({soc or 'unknown chip'})",
        hint="build it with the --target of that device: 'edgecc targets' lists them",
    )


def is_board(identity: Mapping[str, Any], board: Target) -> bool:
    """Whether a device may be a board, from what it says of itself."""
    jetson = board.jetson
    return jetson is None or _fits(identity, jetson.soc, jetson.models)


def _fits(identity: Mapping[str, Any], soc: str | None, models: Sequence[str]) -> bool:
    """Whether chip and model are those of a Jetson; any will do where none is asked for."""
    told = identity.get("model")
    of_these = not models or not told or any(part in str(told) for part in models)
    return soc is None or (identity.get("soc") == soc and of_these)
