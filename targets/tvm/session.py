"""Runs `model.so` in this process, through the virtual machine of TVM's runtime."""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.errors import BuildError, UsageError
from edgecc.target import Arrays, Session, checked_inputs, this_arch
from targets.tvm.signature import Signature

ELF_HEADER = struct.Struct("<4sBB10xHHIQQQIHHHHHH")  # Elf64_Ehdr, little-endian
ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
REBUILD = "build the bundle again"


class TvmSession(Session):
    """A network built by the TVM backend, running on this machine's cores."""

    def __init__(self, library: Path, signature: Signature) -> None:
        check_library(library)
        import tvm
        import tvm_ffi
        from tvm.runtime.vm import VirtualMachine

        self.inputs = signature.inputs
        self.outputs = signature.outputs
        self._lock = threading.Lock()  # a virtual machine keeps one set of registers
        try:
            # TVM's own load_module keeps what it loads, weights too, until the process ends.
            self._library: Any = tvm_ffi.load_module(library, keep_module_alive=False)
            self._vm: Any = VirtualMachine(self._library, tvm.cpu())
            self._main: Any = self._vm["main"]
        except (RuntimeError, ValueError, AttributeError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise BuildError(f"TVM cannot load {library}: {line}", hint=REBUILD) from error

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run the network once (see `Session.run`); the arrays returned are the caller's."""
        arrays = checked_inputs(self.inputs, inputs)
        import tvm

        given = [tvm.runtime.tensor(arrays[spec.name]) for spec in self.inputs]
        with self._lock:
            if self._main is None:
                raise UsageError("this session is closed", hint="open the bundle again")
            result = self._main(*given)
            values = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
            copies = [np.array(value.numpy()) for value in values]
        return {spec.name: copy for spec, copy in zip(self.outputs, copies, strict=True)}

    def close(self) -> None:
        """Release the network's memory."""
        with self._lock:
            self._main = None
            self._vm = None
            self._library = None  # last: what it loaded is code of the others


def check_library(path: Path) -> None:
    """Refuse a library that the loader could crash on: cut short, not ELF, another processor.

    Errors: `BuildError`.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            header = stream.read(ELF_HEADER.size)
    except OSError as error:
        raise BuildError(f"cannot read {path}: {error.strerror}", hint=REBUILD) from error
    if len(header) < ELF_HEADER.size or header[:6] != b"\x7fELF\x02\x01":
        raise BuildError(f"{path} is damaged: it has no ELF header", hint=REBUILD)
    fields = ELF_HEADER.unpack(header)
    machine, sections_at, entry_size, entries = fields[4], fields[8], fields[13], fields[14]
    end = sections_at + entry_size * entries  # the table of sections is the last thing in it
    if size < end:
        raise BuildError(f"{path} is damaged: it has {size} of {end} bytes", hint=REBUILD)
    if ELF_MACHINES.get(machine) != this_arch():
        name = ELF_MACHINES.get(machine, f"ELF machine {machine}")
        raise BuildError(f"{path} is for {name}, this machine is {this_arch()}")
