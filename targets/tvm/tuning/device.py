"""One device behind TVM's RPC: who it is, and how long two libraries take on it."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecc.errors import BuildError, DeviceError
from edgecc.target import Target
from targets.tvm.toolchain import TVM, TVM_FFI, zig_cc
from targets.tvm.tuning.address import Address

SESSION_S = 40
"""After so long the server itself ends a session: what hangs in it does not hang there for ever."""
ROUND_MS = 1
ROUNDS = (3, 30)
"""At least and at most, of both libraries in turns: short ones, of which some are undisturbed."""
TOTAL_S = 1.0
"""What the rounds should take, as far as there may be so few of them."""
EXACT = 1e-4
"""Outputs of two tiles differ by rounding, over the largest output."""
FILE_BYTES = 1 << 16


class Device:
    """Sessions on a server, one for each question: what crashes there ends with its session."""

    def __init__(self, address: Address, target: Target, folder: Path) -> None:
        self.address, self.target, self.folder = address, target, folder

    def session(self) -> Any:
        """Connect. Errors: `DeviceError`."""
        from tvm import rpc

        try:
            return rpc.connect(self.address.host, self.address.port, session_timeout=SESSION_S)
        except Exception as error:  # TVM raises whatever its C++ ran into
            raise DeviceError(f"cannot connect to {self.address}: {words(error)}") from error

    def identity(self) -> dict[str, str]:
        """Return who the device says that it is.

        Errors: `DeviceError` for another architecture than the target's, or another TVM.
        """
        library = self._reader(self.target)
        try:
            read = _Reader(self.session(), library)
        except Exception as error:  # as above
            raise self._stranger(error) from error
        found = {"host": read.text("/proc/sys/kernel/hostname"), "cpu": _cpu(read)}
        found["threads"] = str(read.session.get_function("runtime.NumThreads")())
        for package, pinned in (("tvm", TVM), ("tvm_ffi", TVM_FFI)):
            found[package] = read.version(package)
            if found[package] not in ("unknown", pinned):
                raise DeviceError(
                    f"the server at {self.address} runs {package} {found[package]}, edgecc builds "
                    f"with {pinned}",
                    hint=f"pip install apache-tvm=={TVM} apache-tvm-ffi=={TVM_FFI} there",
                )
        return found

    def _reader(self, target: Target) -> Path:
        import tvm_ffi.libinfo

        headers = {tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path()}
        library = self.folder / f"read-{target.machine}.so"
        source = str(Path(__file__).with_name("read.c"))
        flags = [f"-I{path}" for path in sorted(headers)]
        zig_cc(target, ["-shared", "-fPIC", "-O1", *flags, source, "-o", str(library)], self.folder)
        return library

    def _stranger(self, error: Exception) -> DeviceError:
        """Return why a library for the target cannot be loaded: mostly, for another processor."""
        other = "aarch64" if self.target.machine == "x86_64" else "x86_64"
        try:
            there = self.target.model_copy(update={"arch": other, "glibc": "2.27"})
            read = _Reader(self.session(), self._reader(there))
            cpu = _cpu(read)
        except Exception:  # then what the first attempt said has to do
            return DeviceError(f"the server at {self.address} does not answer: {words(error)}")
        return DeviceError(
            f"the server at {self.address} is {other} ({cpu}), {self.target.name} is "
            f"{self.target.machine}",
            hint="give the address of the board itself",
        )

    def compare(
        self, libraries: Sequence[Path], shapes: list[tuple[str, list[int]]]
    ) -> list[float]:
        """Return the microseconds that `main` of each library takes on the same numbers.

        They run in turns; the fastest round counts. The last operand is what they compute.
        Errors: `BuildError` where a later library computes something else than the first.
        """
        session = self.session()
        device = session.cpu()
        modules = []
        for library in libraries:
            session.upload(str(library))
            modules.append(session.load_module(library.name))
        operands = [_operand(device, *shape) for shape in shapes]
        outputs = []
        for module in modules:
            operands[-1].copyfrom(np.zeros(shapes[-1][1], shapes[-1][0]))
            module["main"](*operands)
            outputs.append(operands[-1].numpy())
        for output in outputs[1:]:
            difference = float(np.abs(output - outputs[0]).max() / (np.abs(outputs[0]).max() or 1))
            if not difference <= EXACT:
                raise BuildError(f"its outputs are {difference:.2g} away")
        timers = [
            module.time_evaluator("main", device, number=1, repeat=1, min_repeat_ms=ROUND_MS)
            for module in modules
        ]
        first = [timer(*operands).mean for timer in timers]
        least, most = ROUNDS
        rounds = int(TOTAL_S / max(sum(first) * 2, 1e-9))
        times = [[seconds] for seconds in first]
        for _ in range(min(max(rounds, least), most)):
            for own, timer in zip(times, timers, strict=True):
                own.append(timer(*operands).mean)
        return [min(own) * 1e6 for own in times]


class _Reader:
    """Reads files on the device, through a library that is loaded there."""

    def __init__(self, session: Any, library: Path) -> None:
        import tvm

        session.upload(str(library))
        self.session = session
        self._read = session.load_module(library.name)["edgecc_read"]
        self._buffer = tvm.runtime.empty((FILE_BYTES,), "uint8", session.cpu())

    def text(self, path: str) -> str:
        """Return a file's first 64 KiB, "" where it cannot be read."""
        name = np.zeros(FILE_BYTES, np.uint8)
        name[: len(path)] = np.frombuffer(path.encode(), np.uint8)
        self._buffer.copyfrom(name)
        count = int(self._read(self._buffer))
        content: bytes = self._buffer.numpy()[: max(count, 0)].tobytes()
        return content.decode("utf-8", "replace").strip()

    def version(self, package: str) -> str:
        """Return the version beside the library that the server has loaded."""
        maps = self.text("/proc/self/maps")
        library = {"tvm": "libtvm_runtime.so", "tvm_ffi": "libtvm_ffi.so"}[package]
        found = re.search(rf"(/\S.*)/lib/{library}", maps)
        told = self.text(f"{found[1]}/_version.py") if found else ""
        version = re.search(r"^__version__ = .*?'([^'\n]+)'", told, re.MULTILINE)
        return version[1] if version else "unknown"


def _operand(device: Any, dtype: str, shape: list[int]) -> Any:
    import tvm

    values = np.random.default_rng(0).standard_normal(shape)
    whole = np.zeros(shape) if "float" not in dtype else values
    return tvm.runtime.tensor(whole.astype(dtype), device=device)


def _cpu(read: _Reader) -> str:
    text = read.text("/proc/cpuinfo")
    for name in ("model name", "Model", "Hardware"):
        if found := re.search(rf"^{name}\s*: (.+)$", text, re.MULTILINE):
            return found[1].strip()
    parts = [re.search(rf"^CPU {name}\s*: (.+)$", text, re.M) for name in ("implementer", "part")]
    return "CPU " + " ".join(found[1].strip() if found else "?" for found in parts)


def words(error: BaseException) -> str:
    """Return the line of TVM's error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
