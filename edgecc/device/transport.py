"""What every way to a device can do: run, follow, send and fetch, each within a limit of time."""

from __future__ import annotations

import contextlib
import shlex
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from edgecc.closing import Closing
from edgecc.device import copying
from edgecc.device.process import Done as Done
from edgecc.device.process import Lines, SilentError, finish
from edgecc.errors import DeviceError
from edgecc.target import Tell

QUICK_S = 30.0
"""What a command that only looks may take, a slow emulated board and a jump host included."""

TIED = """
exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ while read -r _; do :; done <&3; kill -TERM $child; sleep 5; kill -KILL $child
} >/dev/null 2>&1 & watch=$!
exec 3<&-
trap 'kill -TERM $child' TERM INT HUP
wait $child; code=$?
kill $watch 2>/dev/null
exit $code
"""
"""A POSIX shell that ends a command when its own input ends, as it does when the link is lost."""


class Transport(Closing):
    """A way to a device. Every failure of it is a `DeviceError`."""

    name: str
    """As messages call the device."""
    python: str | None = None
    """The Python there that has what runners need; None is looked for."""

    @abstractmethod
    def command(self, argv: Sequence[str]) -> list[str]:
        """Return what to start on this machine so that `argv` runs on the device."""

    def failure(self, done: Done) -> DeviceError | None:
        """Return why the way itself failed, where `done` says that it did."""
        return None

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes | BinaryIO = b"",
        stdout: BinaryIO | None = None,
        check: bool = True,
    ) -> Done:
        """Run a command to its end.

        `stdin` is what it reads, or an open file of this machine; `stdout` one for its output,
        which is then not in the answer. Errors: `DeviceError` for a lost device, after
        `timeout_s`, and with `check` for an exit code other than 0.
        """
        try:
            done = finish(self.command(argv), stdin, timeout_s, stdout)
        except SilentError as error:
            raise self._failed(argv, str(error)) from None
        except OSError as error:
            raise self._failed(argv, f"it cannot be started: {error.strerror}") from None
        if lost := self.failure(done):
            raise lost
        if check and done.returncode:
            raise self._failed(argv, _why(done))
        return done

    @contextlib.contextmanager
    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stall_s: float,
        own_stdin: bool = False,
        stdin: bytes = b"",
    ) -> Iterator[Stream]:
        """Yield the lines of a command as they come; with the block, or the link, it ends.

        It is sent SIGTERM then, unless it has its own way to notice that its input ended
        (`own_stdin`, which begins with `stdin`, a few kB at most). Errors: `DeviceError` after
        `stall_s` without a line, after `timeout_s`, and for a lost device; what came until then
        was yielded.
        """
        tied = list(argv) if own_stdin else ["sh", "-c", TIED, "sh", *argv]
        lines = Lines(self.command(tied), timeout_s, stall_s, stdin)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lines)
            except OSError as error:
                raise self._failed(argv, f"it cannot be started: {error.strerror}") from None
            yield Stream(self, argv, lines)

    def push(
        self,
        local: Path,
        remote: str,
        tell: Tell = lambda text: None,
        *,
        without: Collection[str] = (),
    ) -> None:
        """Send a file, or what of a folder is not there yet, to the path `remote`.

        What stands in the folder itself by a name in `without` stays here.
        What an earlier push left half done is continued; everything is compared by sha256 and then
        renamed into place. Errors: `DeviceError`.
        """
        copying.push(self, local, remote, tell, without)

    def pull(self, remote: str, local: Path) -> None:
        """Fetch a file or a folder to the path `local`; files only, and links in it are left out.

        It is written beside and then renamed. Errors: `DeviceError`.
        """
        copying.pull(self, remote, local)

    def home(self) -> str:
        """Return the home folder on the device."""
        found = self.run(["sh", "-c", 'printf %s "${HOME:?}"'], timeout_s=QUICK_S).stdout
        if not found.startswith("/"):
            raise DeviceError(f"{self.name} names no home folder, but {found!r}")
        return found

    def _failed(self, argv: Sequence[str], why: str) -> DeviceError:
        words = shlex.join(argv).replace("\n", " ")
        return DeviceError(f"{self.name}: `{words[:120]}` failed: {why}")


class Stream:
    """A command that runs on the device: iterate for its lines."""

    def __init__(self, transport: Transport, argv: Sequence[str], lines: Lines) -> None:
        self._transport, self._argv, self._lines = transport, argv, lines

    @property
    def stderr(self) -> str:
        """What the command said beside its output, so far."""
        return self._lines.stderr

    @property
    def returncode(self) -> int | None:
        """The exit code, once every line was read; None where it did not end."""
        return self._lines.returncode

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self._lines
        except SilentError as error:
            raise self._transport._failed(self._argv, str(error)) from None
        done = Done(self.returncode if self.returncode is not None else -1, "", self.stderr)
        if lost := self._transport.failure(done):
            raise lost

    def end(self, grace_s: float) -> Iterator[str]:
        """Ask the command to end, and yield what it still says within `grace_s`."""
        yield from self._lines.end(grace_s)


def _why(done: Done) -> str:
    said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return f"exit code {done.returncode}" + (f": {said[-1].strip()[:300]}" if said else "")
