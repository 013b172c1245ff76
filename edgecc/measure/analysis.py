"""From a record to what is told of it: times, ratio, conditions, and whether to trust them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecc.measure.clocks import are_pinned, clocks
from edgecc.measure.record import Record
from edgecc.measure.statistics import Interval, Latency, latency, ratio
from edgecc.measure.trust import Doubt, Limits, doubts

SCHEMA_VERSION = 1
BUSY = 0.5
"""Of a core that others use, from where on it is told."""
Environment = Mapping[str, Any]
TOLD = ("model", "soc", "module", "l4t", "tensorrt", "cuda", "kernel", "machine", "hostname")


@dataclass(frozen=True)
class Measurement:
    """What a record says, in numbers."""

    record: Record
    environment: Environment
    latency: dict[str, Latency]
    """By bundle."""
    compute: dict[str, Latency]
    """The accelerator's part alone, where the runner tells it."""
    doubts: list[Doubt]
    ratio: Interval | None
    """B over A; None where it is not known, or not to be trusted."""

    @property
    def names(self) -> dict[str, str]:
        """What each bundle is called, by its label."""
        told = self.environment.get("bundles") or {}
        return {label: str(told.get(label, {}).get("name") or label) for label in self.latency}

    @property
    def notes(self) -> list[str]:
        """What a reader should know besides."""
        told = self.environment.get("notes") or []
        return [*dict.fromkeys([*told, *self.record.notes, *_notes(self)])]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data: the content of measurement.json."""
        states = self.record.states
        during = [state.state for state in states if state.during]
        identity = self.record.identity
        runners = {t.bundle: t.runner for t in self.record.times}
        told = self.environment.get("bundles") or {}
        return {
            "schema_version": SCHEMA_VERSION,
            "trusted": not self.doubts,
            "doubts": [doubt.to_json() for doubt in self.doubts],
            "time_unix_s": (self.record.start or {}).get("time_unix_s"),
            "device": {
                "name": self.environment.get("device"),
                "target": self.environment.get("target"),
                **{key: identity.get(key) for key in TOLD},
            },
            "conditions": {
                "mode": next((s["mode"] for s in during if s.get("mode")), None),
                "pinned": are_pinned(during),
                "clocks_mhz": {
                    name: clock.high_mhz if clock.is_pinned else clock.now_mhz
                    for name, clock in (clocks(during[0]) if during else {}).items()
                },
                "hottest_c": _hottest(self.record),
                "memory_free_mb": min(
                    (s["memory_free_mb"] for s in during if s.get("memory_free_mb")), default=None
                ),
            },
            "bundles": {
                label: {
                    **dict(told.get(label, {})),
                    "name": self.names[label],
                    "runner": runners.get(label),
                    "latency": found.to_json(),
                    "compute": of.to_json() if (of := self.compute.get(label)) else None,
                    "memory_peak_mb": _memory_peak_mb(self.record, label),
                }
                for label, found in self.latency.items()
            },
            "ratio": self.ratio.to_json() if self.ratio else None,
            "notes": self.notes,
            "malformed_lines": len(self.record.malformed),
            "torn": self.record.is_torn,
        }


def analyse(
    record: Record,
    environment: Environment,
    limits: Limits,
    known: Sequence[Doubt] | None = None,
) -> Measurement:
    """Make numbers of a record; `known` are its doubts, where its parts were looked at before.

    Errors: `edgecc.errors.UnstableError` for a record without any times; what else speaks against
    it stands in `doubts`.
    """
    record.require_times()
    rounds = {label: record.rounds(label) for label in record.bundles}
    compute: dict[str, dict[int, tuple[float, ...]]] = {}
    for times in record.times:
        if times.kind == "latency" and times.compute_ms:
            compute.setdefault(times.bundle, {})[times.round] = times.compute_ms
    found = list(known or ())
    if known is None:
        found = doubts(record, limits, built_shapes(environment))
    between = None
    if not found and "A" in rounds and "B" in rounds:
        between = ratio(rounds["A"], rounds["B"])
    return Measurement(
        record,
        environment,
        {label: latency(of) for label, of in rounds.items() if of},
        {label: latency(of) for label, of in compute.items()},
        found,
        between,
    )


def built_shapes(environment: Environment) -> dict[str, dict[str, Sequence[int | None]]]:
    """Return the input sizes that each bundle was built for, by its label."""
    told = environment.get("bundles") or {}
    return {
        label: {
            tensor["name"]: [s if isinstance(s, int) else None for s in tensor["shape"]]
            for tensor in bundle.get("inputs", [])
        }
        for label, bundle in told.items()
    }


def _notes(found: Measurement) -> Iterator[str]:
    record = found.record
    if record.malformed:
        count = len(record.malformed)
        yield f"{count} line{'s' * (count > 1)} of the record could not be read (line " + (
            f"{', '.join(map(str, record.malformed[:5]))}{' ...' * (count > 5)})"
        )
    for engine in record.of("engine"):
        steps = (engine.get("record") or {}).get("steps") or []
        if len(steps) > 1:
            whys = "; ".join(str(step.get("why")) for step in steps[1:])
            yield f"an engine took {len(steps)} builds: {whys}"
    for label, of in found.latency.items():
        told = record.called(label)
        if of.samples < 100:
            yield f"the 99th percentile of {told} is one of {of.samples} runs"
        if of.cov > 2 * max(of.spread, 0.01):
            yield (
                f"{told} has outliers: up to {of.max_ms / of.median_ms:.1f} times the median "
                f"(coefficient of variation {of.cov:.1%}, without them {of.spread:.1%})"
            )
    during = [state.state for state in record.states if state.during]
    if during and are_pinned(during) is False:
        yield "clocks were not pinned: they follow the load"
    before = next((state.state for state in record.states if state.when == "before"), {})
    load = before.get("load1")
    if isinstance(load, (int, float)) and load > BUSY:
        yield f"something else ran on the device: a load of {load:.1f} before the measurement"
    end = record.first("end") or {}
    if end.get("restored") is False:
        yield "the device was not put back as it was: see 'edgecc-device restore' there"


def _memory_peak_mb(record: Record, label: str) -> float | None:
    """The most that a bundle's runner had of the memory, where the agent tells it."""
    phases = [phase for phase in record.of("phase") if phase.get("bundle") == label]
    return max((mb for of in phases if (mb := of.get("peak_rss_mb"))), default=None)


def _hottest(record: Record) -> float | None:
    told = [
        celsius
        for state in record.states
        for celsius in (state.state.get("temps_c") or {}).values()
        if isinstance(celsius, (int, float)) and celsius < 200
    ]
    return max(told, default=None)
