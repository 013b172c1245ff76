"""Where a TVM RPC server answers, and whether it does."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from edgecc.errors import DeviceError, UsageError

ANSWER_S = 10.0
MAGIC, MISMATCH = 0xFF271, 0xFF273
"""TVM's: how every client begins, and the answer to a key that is not the server's."""
START = (
    "start one on the device: python3 -m tvm.exec.rpc_server --port 9090, after "
    "pip install apache-tvm=={tvm} apache-tvm-ffi=={ffi} cloudpickle"
)


@dataclass(frozen=True)
class Address:
    """A server's host and port; without a host one is started here."""

    host: str | None
    port: int = 0

    def __str__(self) -> str:
        return "local" if self.host is None else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether this machine measures, in a server of its own."""
        return self.host is None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `local`, `192.168.1.7:9090` or `[::1]:9090`. Errors: `UsageError`."""
        if text == "local":
            return cls(None)
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
            raise UsageError(
                f"--rpc {text} is no address", hint="as in --rpc 192.168.1.7:9090, or --rpc local"
            )
        return cls(host, int(port))

    def check(self, seconds: float = ANSWER_S) -> None:
        """Ask whether a TVM RPC server listens there. Errors: `DeviceError`."""
        from targets.tvm.toolchain import TVM, TVM_FFI

        start = START.format(tvm=TVM, ffi=TVM_FFI)
        if self.host is None:
            return
        try:
            with socket.create_connection((self.host, self.port), timeout=seconds) as server:
                # a key that no server has: it says so, and begins no session
                key = b"client:edgecc-asks-who-is-there"
                server.sendall(struct.pack("<ii", MAGIC, len(key)) + key)
                answer = server.recv(4, socket.MSG_WAITALL)
        except TimeoutError:
            raise DeviceError(
                f"no answer from {self} within {seconds:g} s: nothing is there, a firewall is, or "
                "it is busy or no TVM RPC server",
                hint=start,
            ) from None
        except OSError as error:
            why = error.strerror or str(error)
            raise DeviceError(f"no TVM RPC server at {self}: {why}", hint=start) from None
        if len(answer) < 4 or struct.unpack("<i", answer)[0] != MISMATCH:
            raise DeviceError(f"what answers at {self} is no TVM RPC server", hint=start)
