"""Measures bundles on a device: checks, sends, runs, keeps every event, and draws conclusions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgecc import catalog
from edgecc.device.connect import connect
from edgecc.device.remote import Remote
from edgecc.errors import EdgeccError, UnstableError, UsageError
from edgecc.measure.candidates import Candidate, Entrants, check_fits, entrants
from edgecc.measure.conclusion import Conclusion, conclude
from edgecc.measure.trace import Recorder, Trace
from edgecc.measure.trust import Limits
from edgecc.target import Target, Tell

SETTLE_S, WARMUP_S = 5.0, 2.0
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Wish:
    """What to measure, and how long. Errors: `edgecc.errors.UsageError`."""

    rounds: int = 5
    seconds: float = 5.0
    """Of timed runs, for each bundle in each round."""
    energy_s: float | None = 10.0
    """Of runs under the power sensors, for each bundle in each round; None leaves power out."""
    idle_s: float = 10.0
    """Of doing nothing under the power sensors, in each round."""
    mode: str | None = None
    """A power mode by its name or number; None leaves it as it is."""
    pin: bool = True
    threads: int | None = None
    profile: bool = True
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        energy_s = 1.0 if self.energy_s is None else self.energy_s
        if self.rounds < 1 or not all(0 < s < math.inf for s in (self.seconds, energy_s)):
            raise UsageError(
                f"{self.rounds} rounds of {self.seconds:g} s, and {energy_s:g} s under the "
                "sensors, measure nothing",
                hint="--rounds 5 --seconds 5; --no-energy leaves the sensors out",
            )
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads run nothing", hint="--threads 1")

    def job(
        self,
        bundles: Mapping[str, str],
        mode: int | None,
        shapes: Mapping[str, Sequence[int]],
        *,
        energy: bool,
    ) -> dict[str, Any]:
        """Return what the device is told to do with bundles at these paths, on these sizes."""
        energy_s = self.energy_s if energy else None
        passes = self.rounds * len(bundles)
        busy = passes * (self.seconds + (energy_s or 0.0) + WARMUP_S) + self.rounds * self.idle_s
        return {
            "schema_version": 1,
            "bundles": dict(bundles),
            "rounds": self.rounds,
            "order": "ABBA" if len(bundles) > 1 else "A",
            "mode": mode,
            "pin": self.pin,
            "settle_s": SETTLE_S if self.pin else 0.0,
            "warmup_s": min(WARMUP_S, self.seconds),
            "latency": {
                "seconds": self.seconds,
                "min_samples": math.ceil(self.limits.samples / self.rounds),
                "max_samples": 20_000,
            },
            "idle_s": self.idle_s if energy_s else 0.0,
            "energy": {"seconds": energy_s} if energy_s else None,
            "profile": self.profile,
            "threads": self.threads,
            "inputs": None,
            "shapes": {name: list(sizes) for name, sizes in shapes.items()},
            "record": None,
            "limit_s": round(600 + 4 * busy),
        }


def bench(
    folder: Path,
    device: str,
    wish: Wish,
    *,
    against: Path | None = None,
    tell: Tell = lambda text: None,
) -> Conclusion:
    """Measure the bundle in `folder` on `device`, beside a baseline where one is given.

    Everything is kept in the bundle's `trace/`, whatever becomes of the run; see
    `Conclusion.demand` for whether it can be trusted.
    Errors: `edgecc.errors.EdgeccError` and its kinds; `KeyboardInterrupt` that says where the
    record so far lies.
    """
    with entrants(folder, against, tell) as found:
        trace = measure(found, folder, device, wish, tell)
        return conclude(trace, found.folders, catalog.target(found.target), wish.limits)


def measure(found: Entrants, home: Path, device: str, wish: Wish, tell: Tell) -> Trace:
    """Run bundles on a device and keep what it tells in the trace of the bundle in `home`.

    Errors: as `bench`.
    """
    board, bundles = catalog.target(found.target), found.bundles
    mode = mode_id(wish.mode, board)
    with connect(device) as transport:
        tell(f"looking at {transport.name}")
        remote = Remote(transport, tell)
        identity = remote.identify()
        for candidate in bundles.values():
            check_fits(candidate, identity, transport.name)
        places = {label: _sent(candidate, remote) for label, candidate in bundles.items()}
        hidden = power_hidden(identity) if wish.energy_s else []
        trace = Trace.new(home)
        trace.keep_environment(_environment(found, device, identity, hidden))
        job = wish.job(places, mode, found.shapes, energy=not hidden)
        with _kept(trace), Recorder(trace) as recorder:
            for label, candidate in bundles.items():
                if candidate.backend == "tensorrt":
                    tell(f"building the engine of {candidate.name}")
                    _follow(remote.build(places[label]), recorder.keep, tell)
            with contextlib.suppress(UnstableError):  # weighed with all the rest
                _follow(remote.measure(job), recorder.keep, tell)
    return trace


def mode_id(asked: str | None, board: Target) -> int | None:
    """Return the number of a power mode. Errors: `edgecc.errors.UsageError`."""
    if asked is None or asked.isdigit():
        return None if asked is None else int(asked)
    modes = board.jetson.modes if board.jetson else ()
    for mode in modes:
        if mode.name.lower() == asked.lower():
            return mode.id
    known = ", ".join(f"{mode.id} {mode.name}" for mode in modes)
    raise UsageError(
        f"{board.name} has no power mode '{asked}'",
        hint=f"its modes: {known}" if known else "give its number, where it has modes",
    )


def _sent(candidate: Candidate, remote: Remote) -> str:
    """Send what the device does not have yet; return where the bundle lies there."""
    with candidate.as_built() as files:
        return remote.put(files)


def _follow(
    events: Generator[Event, None, None], keep: Callable[[Event], None], tell: Tell
) -> None:
    """Keep events as they come, and tell what the device is at; where that fails, it ends there."""
    with contextlib.closing(events):
        for event in events:
            keep(event)
            if said := progress_line(event):
                tell(said)


def progress_line(event: Event) -> str | None:
    """Return what an event says to somebody who waits."""
    match event.get("event"):
        case "phase":
            of = f" of {event['bundle']}" if event.get("bundle") else ""
            turn = "" if event.get("round") is None else f", round {event['round']}"
            return f"{event.get('name')}{of}{turn} done"
        case "progress":
            eta = f", {event['eta_s']:.0f} s to go" if event.get("eta_s") else ""
            return f"{event.get('text')}{eta}"
        case "build":
            return f"step {event.get('step')}: {event.get('why')}"
        case "note":
            return str(event.get("text"))
    return None


@contextlib.contextmanager
def _kept(trace: Trace) -> Iterator[None]:
    """Say where the record lies, whatever ends the block."""
    said = f"what was recorded so far: {trace.record}"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(said) from None
    except EdgeccError as error:
        hint = f"{error.hint}. {said}" if error.hint else said
        raise type(error)(error.message, hint=hint) from None
    except OSError as error:  # a full disk
        why = error.strerror or str(error)
        raise EdgeccError(f"cannot write {trace.folder}: {why}", hint=said) from None


def _environment(
    found: Entrants, device: str, identity: Mapping[str, Any], notes: Sequence[str]
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "edgecc": version("edgecc"),
        "device": device,
        "target": found.target,
        "identity": dict(identity),
        "bundles": {label: candidate.describe() for label, candidate in found.bundles.items()},
        "notes": [*found.notes, *notes],
    }


def power_hidden(identity: Mapping[str, Any]) -> list[str]:
    """Return why a device does not tell its power, and what would help; nothing where it does."""
    sensors = identity.get("sensors") or {}
    if sensors.get("power_readable"):
        return []
    if command := sensors.get("to_show_power"):
        return [f"power is hidden from this user; on the device, until its next boot: {command}"]
    return ["the device has no power sensor that can be read: latency alone"]
