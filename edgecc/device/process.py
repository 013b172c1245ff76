"""Processes of this machine with a limit on everything: how long, how silent, how they end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

CHUNK = 1 << 16
ENDS_IN_S = 10.0
"""What a process has to end in after it closed its output, or was asked to."""


@dataclass(frozen=True)
class Done:
    """A process that ended."""

    returncode: int
    stdout: str
    stderr: str


class SilentError(Exception):
    """A process that took longer, or was silent for longer, than it may."""


def finish(
    command: Sequence[str],
    stdin: bytes | BinaryIO,
    timeout_s: float,
    stdout: BinaryIO | None = None,
) -> Done:
    """Run a process to its end; with `stdout`, its output goes into that file of this machine.

    Errors: `SilentError` after `timeout_s`, `OSError` at its start.
    """
    given = subprocess.PIPE if isinstance(stdin, bytes) else stdin
    with subprocess.Popen(
        command,
        stdin=given,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(
                stdin if isinstance(stdin, bytes) else None, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise SilentError(f"not done after {timeout_s:g} s") from None
        except BaseException:
            kill_group(process)
            raise
    text = "" if out is None else out.decode(errors="replace")
    return Done(process.returncode, text, err.decode(errors="replace"))


def kill_group(process: subprocess.Popen[bytes], how: int = signal.SIGKILL) -> None:
    """Send a signal to a process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, how)


class Lines:
    """The lines of a running process as they come; it ends with the block."""

    def __init__(
        self, command: Sequence[str], timeout_s: float, stall_s: float, stdin: bytes = b""
    ) -> None:
        self._command, self._stdin = command, stdin
        self._timeout_s, self._stall_s = timeout_s, stall_s
        self._rest = b""
        self.returncode: int | None = None

    def __enter__(self) -> Lines:
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except BaseException:
            self._errors.close()
            raise
        self._ends = time.monotonic() + self._timeout_s
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # one that ended at once: what it said tells why
            self._process.stdin.write(self._stdin)
            self._process.stdin.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in self.end():
            pass
        kill_group(self._process)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()

    @property
    def stderr(self) -> str:
        """What the process said beside its output, so far."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def __iter__(self) -> Iterator[str]:
        """Yield lines until the process closes its output. Errors: `SilentError`."""
        yield from self._read(self._stall_s)
        left = max(0.1, min(ENDS_IN_S, self._ends - time.monotonic()))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.returncode = self._process.wait(left)

    def end(self, grace_s: float = ENDS_IN_S) -> Iterator[str]:
        """Close the input, which ends what runs there, and yield the lines that still come."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._ends = time.monotonic() + grace_s
        with contextlib.suppress(SilentError):
            yield from self._read(grace_s)
        try:
            self.returncode = self._process.wait(max(0.1, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill_group(self._process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.returncode = self._process.wait(1)

    def _read(self, stall_s: float) -> Iterator[str]:
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return
        pipe = self._process.stdout.fileno()
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipe, selectors.EVENT_READ)
            while True:
                left = self._ends - time.monotonic()
                if not waiting.select(max(0.0, min(stall_s, left))):
                    silent = left > stall_s
                    raise SilentError(
                        f"silent for {stall_s:g} s"
                        if silent
                        else f"not done in {self._timeout_s:g} s"
                    )
                chunk = os.read(pipe, CHUNK)
                if not chunk:
                    break
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
        if self._rest:
            last, self._rest = self._rest, b""
            yield last.decode(errors="replace")
