"""A target is data; a backend turns a model into files for it, and runs them where it can.

Backends live in `targets/<name>/` and see nothing of edgecc but this file and `edgecc.errors`.
"""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from edgecc.closing import Closing
from edgecc.engine_wish import CALIBRATION as CALIBRATION
from edgecc.engine_wish import INT8_MODEL as INT8_MODEL
from edgecc.engine_wish import EngineWish as EngineWish
from edgecc.engine_wish import Quantisation as Quantisation
from edgecc.errors import UsageError
from edgecc.hardware import Core as Core
from edgecc.hardware import Efficiency as Efficiency
from edgecc.hardware import Engine as Engine
from edgecc.hardware import Jetson as Jetson
from edgecc.hardware import Peaks as Peaks
from edgecc.hardware import PeaksAt as PeaksAt
from edgecc.hardware import Power as Power
from edgecc.hardware import Precision as Precision
from edgecc.signature import Arrays as Arrays
from edgecc.signature import TensorSpec as TensorSpec
from edgecc.signature import checked_inputs as checked_inputs

Arch = Literal["x86_64", "aarch64"]
Tell = Callable[[str], None]
"""Called with what a long step is at."""


def this_arch() -> str:
    """Return the architecture of this machine in GCC's spelling (`x86_64`, `aarch64`)."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


class Target(BaseModel):
    """What is known about a board (or this machine): one TOML file in `targets/boards/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    """The board in words, with its processor."""
    arch: Arch | Literal["host"]
    """`host` stands for the architecture that edgecc itself runs on."""
    cpu: str | None = None
    """LLVM's name of the core (`-mcpu`); None is the one edgecc runs on."""
    features: tuple[str, ...] = ()
    """LLVM's features to have or to leave out (`-mattr`) besides the core's: `"+dotprod"`."""
    cores: int | None = Field(default=None, ge=1)
    glibc: str | None = None
    """The oldest C library that programs for this board must start on; None is this machine's."""
    backend: str
    """The backend taken when the user names none."""
    backends: tuple[str, ...]
    """Every backend that can serve this board."""
    passes: str
    """The default pipeline, in the text form of `edgecc.pipeline.Pipeline`."""
    granule: int = Field(default=1, ge=1)
    """How many channels are computed in one go: ranks that are multiples of it waste nothing."""
    peaks: Peaks | None = None
    """None where it can only be priced by measuring."""
    peaks_at: dict[Precision, PeaksAt] = {}
    """What differs from `peaks` in the other precisions (see `at`)."""
    core: Core | None = None
    """None for the machine that edgecc runs on, and where no CPU computes."""
    engine: Engine | None = None
    """What its TensorRT can have; None where there is none."""
    jetson: Jetson | None = None
    power: Power | None = None
    """Its power sensors; None where it has none that are known."""
    board: str | None = None
    """The board that this is another processor of: `jetson` and `power` are taken from its file."""

    @property
    def machine(self) -> str:
        """The architecture, with `host` resolved."""
        return this_arch() if self.arch == "host" else self.arch

    @property
    def is_native(self) -> bool:
        """Whether programs for this target can start on this machine."""
        return self.machine == this_arch()

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What it computes in, the default first."""
        if self.engine is not None:
            return self.engine.precisions
        return (self.peaks.precision,) if self.peaks is not None else ("fp32",)

    def at(self, precision: Precision) -> Target:
        """Return the board as it computes in `precision`: with the granule and the prices of it.

        Errors: `edgecc.errors.UsageError` where it does not compute in it.
        """
        if precision not in self.precisions:
            raise UsageError(
                f"{self.name} does not compute in {precision}",
                hint=f"it computes in {', '.join(self.precisions)}",
            )
        granules = self.engine.granules if self.engine is not None else {}
        default = self.granule if precision == self.precisions[0] else 1
        update = {"granule": granules.get(precision, default), "peaks": self._peaks(precision)}
        return self.model_copy(update=update)

    def _peaks(self, precision: Precision) -> Peaks | None:
        if self.peaks is None or self.peaks.precision == precision:
            return self.peaks
        if precision not in self.peaks_at:
            return None
        told = self.peaks_at[precision].model_dump(exclude_none=True)
        return Peaks(**{**self.peaks.model_dump(), **told, "precision": precision})


@dataclass(frozen=True)
class Artifact:
    """What a backend left in the bundle."""

    backend: str
    machine: str | None
    """The architecture that its files run on; None runs on any."""
    files: tuple[str, ...]
    """Paths inside the bundle, `/` between folders."""
    run: str
    """The command that runs it on the device, from inside the bundle; arrays lie beside it."""
    missing: str | None = None
    """What still has to be done before it can run, in a sentence; None is complete."""
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the artifact as plain data."""
        return {**asdict(self), "files": list(self.files)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Artifact:
        """Read back what `to_json` wrote."""
        return cls(**{**data, "files": tuple(data["files"])})


class Session(Closing):
    """A network ready to run: a dictionary of arrays in, a dictionary of arrays out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @abstractmethod
    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run the network once.

        Errors: `edgecc.errors.UsageError` for a missing or unknown name, or an array whose type
        or shape the network does not take.
        """


class Backend(ABC):
    """One way to lower a model: a folder in `targets/`, a class, an instance in the catalogue."""

    name: str
    summary: str
    """One line for `edgecc targets`."""
    dynamic: bool
    """Whether it takes dimensions that are not numbers."""
    legalise: str = ""
    """The passes (text form) a model goes through before `build`."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of what it builds with.

        Errors: `edgecc.errors.BuildError` where it is not installed, with the command as hint.
        """

    def newest_opset(self) -> int | None:
        """Return the newest opset that it reads; None is no limit."""
        return None

    def with_fallback(self) -> Backend:
        """Return the backend, allowed to leave what it cannot take to onnxruntime.

        Errors: `edgecc.errors.UsageError` where it leaves nothing.
        """
        raise UsageError(f"the backend {self.name} has no fallback", hint="leave --fallback away")

    def without_winograd(self) -> Backend:
        """Return the backend, made to sum every convolution over its window.

        Errors: `edgecc.errors.UsageError` where that is not its to decide.
        """
        raise UsageError(
            f"the backend {self.name} has no Winograd of ours to switch off",
            hint="leave --no-winograd away",
        )

    def with_tuning(
        self, target: Target, tune: str, rpc: str | None, tell: Callable[[str], None]
    ) -> Backend:
        """Return the backend, to measure on the device at `rpc` what it chooses for `target`.

        `tune` is a number of trials, or a file of what was measured. Errors: `UsageError` where it
        measures nothing, `DeviceError` without an answer from the device.
        """
        raise UsageError(f"the backend {self.name} has no tuning", hint="leave --tune away")

    def with_engine(self, target: Target, wish: EngineWish) -> Backend:
        """Return the backend, to make an engine for `target` as wished.

        Errors: `edgecc.errors.UsageError` where it makes none, or the board has no such thing.
        """
        if given := [name for name, value in asdict(wish).items() if value is not None]:
            raise UsageError(
                f"--{given[0]} is for engines of TensorRT, and the backend is {self.name}",
                hint=f"leave --{given[0]} away",
            )
        return self

    def computes_in(self, target: Target) -> Precision:
        """Return the precision that most of the network is computed in."""
        return target.precisions[0]

    def legalisation(self, target: Target) -> str:
        """Return the passes (text form) a model goes through before `build`."""
        return self.legalise

    def quantisation(self, target: Target) -> Quantisation | None:
        """Return how INT8 is wanted; None where the network stays in float."""
        return None

    def keeping(self, nodes: Sequence[str]) -> Backend:
        """Return the backend, to leave these nodes in float where the rest is INT8."""
        return self

    def refuse(self, model: Path, target: Target) -> None:  # noqa: B027  (most refuse by building)
        """Refuse a legalised model that cannot be lowered for `target`, before any long work.

        Errors: `edgecc.errors.BuildError`.
        """

    @abstractmethod
    def build(
        self, model: Path, target: Target, folder: Path, tell: Tell = lambda text: None
    ) -> Artifact:
        """Lower `model` (prepared, legalised, `folder/model.onnx`) into files inside `folder`.

        `tell` is called with what it is at. Same model and target: the same bytes.
        Errors: `edgecc.errors.BuildError`.
        """

    def why_not_here(self, artifact: Artifact) -> str | None:
        """Say why what `build` left cannot run on this machine; None where it can."""
        if artifact.missing or artifact.machine in (None, this_arch()):
            return artifact.missing
        return f"it is for {artifact.machine}"

    @abstractmethod
    def open(self, folder: Path, artifact: Artifact) -> Session:
        """Open what `build` left, on this machine. Errors: `edgecc.errors.BuildError`."""
