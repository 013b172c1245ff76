"""The TVM backend: what it builds into a bundle, and how that runs here."""

from __future__ import annotations

import copy
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecc.errors import BuildError
from edgecc.target import Artifact, Backend, Session, Target, this_arch
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


class TvmBackend(Backend):
    """Compiles a network to machine code that runs without Python.

    In the bundle: `tvm/model.so` (code and weights), `tvm/signature.txt` (inputs and outputs),
    `tvm/libedgecc.so` with `tvm/edgecc.h` for programs in C, `tvm/edgecc-run` for the command line,
    and TVM's two runtime libraries.
    """

    name = "tvm"
    fallback = False
    wish: Wish | None = None
    summary = "Compiles to ARM or x86 machine code; runs without Python on the device"
    dynamic = False

    def with_fallback(self) -> Backend:
        """Return a backend that leaves to onnxruntime what TVM cannot take."""
        backend = copy.copy(self)
        backend.fallback = True
        return backend

    def with_tuning(
        self, target: Target, tune: str, rpc: str | None, tell: Callable[[str], None]
    ) -> Backend:
        """Return a backend that measures tiles on the device (see `Backend.with_tuning`)."""
        self.versions()
        backend = copy.copy(self)
        backend.wish = Wish.parse(target, tune, rpc, tell)
        return backend

    def versions(self) -> dict[str, str]:
        """Return the versions of TVM, its FFI, Zig and LLVM."""
        return installed_versions()

    def build(self, model: Path, target: Target, folder: Path) -> Artifact:
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
            run, told = self._write(model, target, made)
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

    def _write(self, model: Path, target: Target, folder: Path) -> tuple[str, dict[str, Any]]:
        """Write what the bundle needs; return the command that runs it, and what to report."""
        tuning = Tuning.of(target, self.wish) if self.wish else None
        try:
            command = run_command(_build(model, target, folder, tuning))
            return command, _tuned(tuning, folder)
        except NotInTvmError:
            if not self.fallback:
                raise
        tuning = Tuning.of(target, self.wish) if self.wish else None
        for path in folder.iterdir():  # of the attempt to give TVM all of it
            path.unlink()
        from targets.tvm.frontend import read_model

        signature, told = build_segments(read_model(model), target, folder, tuning)
        also = _tuned(tuning, folder)
        told = {**told, **also, "notes": [*told["notes"], *also.get("notes", [])]}
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


def _build(model: Path, target: Target, folder: Path, tuning: Tuning | None) -> Signature:
    """Write everything the bundle needs into `folder`, which is empty."""
    from targets.tvm.compile import write_library
    from targets.tvm.device_programs import write_programs
    from targets.tvm.device_runtime import copy_runtime
    from targets.tvm.frontend import read_model, to_relax

    network = read_model(model)
    module = to_relax(network)
    signature = Signature.of_model(network)
    signature.write(folder / "signature.txt")
    copy_runtime(target.machine, folder)
    write_programs(target, folder)
    with tempfile.TemporaryDirectory(prefix="objects-", dir=folder.parent) as workspace:
        write_library(module, target, folder / "model.so", Path(workspace), tuning)
    return signature


def _tuned(tuning: Tuning | None, folder: Path) -> dict[str, Any]:
    """Write what was measured; return what to report of it."""
    if tuning is None:
        return {}
    (folder / FILE).write_text(tuning.text())
    return tuning.details()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
