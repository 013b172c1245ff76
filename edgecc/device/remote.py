"""The agent at work on a device: put there, asked, and followed while it builds and measures."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from edgecc.device import pack, shell
from edgecc.device.transport import QUICK_S, Stream, Transport
from edgecc.errors import BuildError, DeviceError, EdgeccError, UnstableError, UsageError
from edgecc.target import Tell

Event = dict[str, Any]
CACHE = ".cache/edgecc"
TRACE = "trace"
"""The folder of a bundle with what was measured, here and there: each side has its own."""
KEPT = {"bundles": 10, "agent": 3}
"""How many of them stay on a device, those used last; and all that were used within a day."""
SWEEP = """
touch "$1" "$2"; cd "$3" || exit; shift 3
for each; do
    ls -1t "${each% *}" | tail -n +$((${each#* } + 1)) | while IFS= read -r old; do
        find "${each% *}/$old" -prune -mtime +0 -exec rm -rf {} +
    done
done
"""
RESTORES_S = 45.0
"""What the agent has to put everything back when it is asked to end."""
SILENT_BUILD_S = 900.0
BUILD_S = 4 * 3600.0
NO_PYTHON = "sudo apt-get install python3-minimal"
CODES: dict[int, type[EdgeccError]] = {2: UsageError, 5: BuildError, 7: UnstableError}


class Remote:
    """A device with the agent on it. Every failure of it is a `DeviceError` or what it told."""

    def __init__(self, transport: Transport, tell: Tell = lambda text: None) -> None:
        self.transport, self._tell = transport, tell
        self._home: str | None = None
        self._agent: list[str] | None = None

    def identify(self) -> dict[str, Any]:
        """Return what the device is; by a shell alone where it has no Python (`python` is None)."""
        if self._place() is None:
            return shell.identify(self.transport)
        return self._ask("identify")

    def state(self) -> dict[str, Any]:
        """Return its power mode, clocks and temperatures."""
        return self._ask("state")

    def restore(self) -> dict[str, Any]:
        """Put back what a dead session left changed; return `restored` and `failed`."""
        return self._ask("restore")

    def put(self, bundle: Path) -> str:
        """Send a bundle, or what of it is not there yet; return the path that it has there."""
        manifest = bundle / "manifest.json"
        if not manifest.is_file():
            raise UsageError(f"{bundle} is not a bundle", hint="edgecc build makes one")
        key = hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]
        place = f"{self._cache()}/bundles/{key}"
        self.transport.push(bundle, place, self._tell, without=(TRACE,))
        self._sweep(place)
        return place

    def build(self, folder: str) -> Generator[Event, None, None]:
        """Build the engine of a bundle there; yield what the agent tells while it does.

        Errors: `BuildError`, after its event; `DeviceError` for a lost or silent device.
        """
        argv = [*self._needed(), "build", folder]
        with self.transport.stream(argv, timeout_s=BUILD_S, stall_s=SILENT_BUILD_S) as stream:
            yield from self._events(stream, last="engine")

    def measure(self, job: dict[str, Any]) -> Generator[Event, None, None]:
        """Run a job there, its bundles named by paths of the device; yield what the agent tells.

        Ctrl-C ends the session on the device in order: what it still tells is yielded, then
        KeyboardInterrupt goes on. Errors: `UnstableError` and others after their event;
        `DeviceError` for a lost or silent device, all that came until then having been yielded.
        """
        if self._place() is None:
            yield from shell.measure(self.transport, job)
            return
        argv = [*self._needed(), "measure", "--tied", "-"]
        with self.transport.stream(
            argv,
            timeout_s=float(job.get("limit_s", 3600)) + RESTORES_S + QUICK_S,
            stall_s=silence_s(job),
            own_stdin=True,
            stdin=json.dumps(job).encode() + b"\n",
        ) as stream:
            try:
                yield from self._events(stream, last="end")
            except KeyboardInterrupt:
                yield from map(self._event, stream.end(RESTORES_S))
                raise

    def _events(self, stream: Stream, last: str) -> Iterator[Event]:
        failed: Event | None = None
        name = None
        for line in stream:
            event = self._event(line)
            name = event["event"]
            if name == "error":
                failed = event
            yield event
        if failed is not None:
            kind = CODES.get(failed.get("code", 4), DeviceError)
            raise kind(f"{self.transport.name}: {failed['message']}", hint=failed.get("hint"))
        if name != last:
            said = [text for text in stream.stderr.splitlines() if text.strip()]
            raise DeviceError(
                f"{self.transport.name}: the agent ended before it was done"
                + (f": {said[-1].strip()[:300]}" if said else ""),
                hint="is the device out of memory, or was it switched off?",
            )

    def _event(self, line: str) -> Event:
        """Read a line; what is no event is kept as what the device said."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            return event
        return {"event": "malformed", "text": line}

    def _ask(self, command: str) -> dict[str, Any]:
        argv = [*self._needed(), command]
        done = self.transport.run(argv, timeout_s=2 * QUICK_S, check=False)
        if done.returncode:
            _, _, said = done.stderr.strip().rpartition("edgecc-device: ")
            message, _, hint = said.partition("\n  hint: ")
            told = message or f"exit code {done.returncode}"
            raise DeviceError(f"{self.transport.name}: {told}", hint=hint or None)
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise DeviceError(
                f"{self.transport.name}: `{command}` did not answer in JSON: {done.stdout[:200]!r}",
                hint="does its login shell print something?",
            ) from None
        return answer

    def _needed(self) -> list[str]:
        agent = self._place()
        if agent is None:
            raise DeviceError(
                f"{self.transport.name} has no Python 3.6 or later, which this needs",
                hint=f"on the device: {NO_PYTHON}",
            )
        return agent

    def _place(self) -> list[str] | None:
        """Put the agent there once; return how it is called, None without a Python."""
        if self._agent is None:
            python = shell.find_python(self.transport)
            if python is None:
                return None
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / pack.NAME
                digest = pack.write(file)
                place = f"{self._cache()}/agent/{digest}/{pack.NAME}"
                self.transport.push(file, place)
            self._agent = [python, place]
        return self._agent

    def _sweep(self, used: str) -> None:
        """Mark what is used, and remove the bundles and agents that nobody used for long."""
        agent = str(PurePosixPath(self._agent[1]).parent) if self._agent else used
        words = [used, agent, self._cache(), *(f"{name} {count}" for name, count in KEPT.items())]
        self.transport.run(["sh", "-c", SWEEP, "sh", *words], timeout_s=2 * QUICK_S, check=False)

    def _cache(self) -> str:
        if self._home is None:
            self._home = self.transport.home()
        return f"{self._home}/{CACHE}"


def silence_s(job: dict[str, Any]) -> float:
    """Return for how long a session may be silent: its longest pass, many times over.

    A network that takes long for few runs goes on for six times the time asked for.
    """
    passes = [job.get("latency") or {}, job.get("energy") or {}]
    seconds = [float(each.get("seconds", 30.0)) for each in passes]
    waits = [float(job.get(name, 10.0)) for name in ("settle_s", "idle_s", "warmup_s")]
    return 6 * max(seconds + waits) + 360
