"""The TVM backend: what it builds into a bundle, and how that runs here."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecc.errors import BuildError
from edgecc.target import Artifact, Backend, Session, Target, Tell, this_arch
from targets.tvm.account import Account
from targets.tvm.options import Options
from targets.tvm.refusal import NotInTvmError
from targets.tvm.segmented_session import SegmentedSession
from targets.tvm.segments import LISTING, build_segments
from targets.tvm.session import TvmSession
from targets.tvm.signature import Signature
from targets.tvm.toolchain import glibc_for, installed_versions
from targets.tvm.tuning.tune import Tuning
from targets.tvm.tuning.wish import FILE, Wish

FOLDER = "tvm"
LIBRARY = f"{FOLDER}/model.so"
SIGNATURE = f"{FOLDER}/signature.txt"
RUNNER = f"{FOLDER}/edgecc-run"
ARCHITECTURES = ("aarch64", "x86_64")


@dataclass(frozen=True)
class TvmBackend(Backend):
    """Compiles a network to machine code that runs without Python.

    In the bundle: `tvm/model.so` (code and weights), `tvm/signature.txt` (inputs and outputs),
    `tvm/libedgecc.so` with `tvm/edgecc.h` for programs in C, `tvm/edgecc-run` for the command line,
    and TVM's two runtime libraries.
    """

    fallback: bool = False
    winograd: bool = True
    wish: Wish | None = None
    name = "tvm"
    summary = "Compiles to ARM or x86 machine code; runs without Python on the device"
    dynamic = False

    def with_fallback(self) -> Backend:
        """Return a backend that leaves to onnxruntime what TVM cannot take."""
        return replace(self, fallback=True)

    def without_winograd(self) -> Backend:
        """Return a backend that sums every convolution over its window."""
        return replace(self, winograd=False)

    def with_tuning(
        self, target: Target, tune: str, rpc: str | None, tell: Callable[[str], None]
    ) -> Backend:
        """Return a backend that measures tiles on the device (see `Backend.with_tuning`)."""
        self.versions()
        return replace(self, wish=Wish.parse(target, tune, rpc, tell))

    def versions(self) -> dict[str, str]:
        """Return the versions of TVM, its FFI, Zig and LLVM."""
        return installed_versions()

    def build(
        self, model: Path, target: Target, folder: Path, tell: Tell = lambda text: None
    ) -> Artifact:
        """Write `folder/tvm/` (see `Backend.build`); nothing is left of a build that fails."""
        versions = self.versions()
        if target.machine not in ARCHITECTURES:
            raise BuildError(
                f"the TVM backend builds for {' and '.join(ARCHITECTURES)}, not {target.machine}"
            )
        glibc_for(target)
        with tempfile.TemporaryDirectory(prefix=".tvm-", dir=folder) as temporary:
            made = Path(temporary) / FOLDER
            made.mkdir()
            tuning = Tuning.of(target, self.wish) if self.wish else None
            options = Options(self.winograd, tuning, tell)
            run, told = self._write(model, target, made, options)
            told |= _tuned(tuning, made, told.get("notes", []))
            files = tuple(sorted(f.relative_to(temporary).as_posix() for f in _files(made)))
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
            made.replace(folder / FOLDER)
        return Artifact(
            backend=self.name,
            machine=target.machine,
            files=files,
            run=run,
            details={"cpu": target.cpu, "glibc": target.glibc, "versions": versions, **told},
        )

    def _write(
        self, model: Path, target: Target, folder: Path, options: Options
    ) -> tuple[str, dict[str, Any]]:
        """Write what the bundle needs; return the command that runs it, and what to report."""
        try:
            signature, account = _build(model, target, folder, options)
            return run_command(signature), _details(options, account, account.notes())
        except NotInTvmError:
            if not self.fallback:
                raise
        for path in folder.iterdir():  # of the attempt to give TVM all of it
            path.unlink()
        from targets.tvm.frontend import read_model

        signature, found = build_segments(read_model(model), target, folder, options)
        told = {**found.to_json(), **_details(options, found.account, found.notes())}
        return run_command(signature, "python3", f"{FOLDER}/run.py"), told

    def open(self, folder: Path, artifact: Artifact) -> Session:
        """Open `tvm/model.so` in this process, where it was built for this architecture."""
        if artifact.machine != this_arch():
            raise BuildError(
                f"this bundle was built for {artifact.machine}, this machine is {this_arch()}",
                hint=f"copy it to the device and run there, in its folder: {artifact.run}",
            )
        self.versions()
        if f"{FOLDER}/{LISTING}" in artifact.files:
            return SegmentedSession(folder / FOLDER)
        return TvmSession(folder / LIBRARY, Signature.read(folder / SIGNATURE))


def run_command(signature: Signature, *program: str) -> str:
    """Return the command that runs the network from inside the bundle, with `edgecc-run` or
    another `program`.
    """
    files = signature.files()
    words = list(program or [RUNNER])
    for spec in signature.inputs:
        words += ["-i", f"{spec.name}=../{files[f'input {spec.name}']}"]
    return shlex.join([*words, "-o", ".."])


def _details(options: Options, account: Account, notes: list[str]) -> dict[str, Any]:
    found = account.to_json()
    if not options.winograd:
        found["winograd"] = "off"
    return {**found, **({"notes": notes} if notes else {})}


def _build(
    model: Path, target: Target, folder: Path, options: Options
) -> tuple[Signature, Account]:
    """Write everything the bundle needs into `folder`, which is empty."""
    from targets.tvm.compile import write_library
    from targets.tvm.device_programs import write_programs
    from targets.tvm.device_runtime import copy_runtime
    from targets.tvm.frontend import read_model, to_relax

    options.tell("importing")
    network = read_model(model)
    module = to_relax(network)
    signature = Signature.of_model(network)
    signature.write(folder / "signature.txt")
    options.tell("runtime and runner")
    copy_runtime(target.machine, folder)
    write_programs(target, folder)
    with tempfile.TemporaryDirectory(prefix="objects-", dir=folder.parent) as workspace:
        library = folder / "model.so"
        lowered = write_library(module, target, library, Path(workspace), options)
    return signature, lowered.account


def _tuned(tuning: Tuning | None, folder: Path, notes: list[str]) -> dict[str, Any]:
    """Write what was measured; return what to report of it, behind other `notes`."""
    if tuning is None:
        return {}
    (folder / FILE).write_text(tuning.text())
    told = tuning.details()
    return {**told, "notes": [*notes, *told["notes"]]}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
