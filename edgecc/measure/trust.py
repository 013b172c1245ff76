"""Whether a record can be trusted: each check returns the reasons why not.

A doubt is data. `demand` makes an error of them: then no ratio is told, the record is kept, and the
message says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecc.errors import UnstableError, UsageError
from edgecc.measure.clocks import moved, pinned_that_moved
from edgecc.measure.record import Record
from edgecc.measure.statistics import latency

Shapes = Mapping[str, Mapping[str, Sequence[int | None]]]
"""By bundle and input; None is a size that is open."""
AGAIN = "measure again"


@dataclass(frozen=True)
class Doubt:
    """Why a measurement cannot be trusted."""

    kind: str
    text: str
    hint: str = AGAIN

    def to_json(self) -> dict[str, str]:
        """Return it as plain data."""
        return {"kind": self.kind, "text": self.text, "hint": self.hint}


@dataclass(frozen=True)
class Limits:
    """From where on a measurement is doubted. Errors: `edgecc.errors.UsageError`."""

    spread: float = 0.05
    """Of a bundle's runs, as a coefficient of variation that a few outliers do not move. trtexec
    warns at 0.01 on a GPU alone; a quiet, pinned CPU stays below 0.03, and one that is shared or
    changes its clock is beyond 0.1."""
    samples: int = 50
    """Runs of a bundle."""
    rounds: int = 3
    """For a ratio: with two, the interval has no meaning left."""
    hot_c: float = 95.0
    """Jetsons and Raspberry Pis slow down from 80 to 97 degrees by themselves, which the clocks
    tell; from here on every board does."""

    def __post_init__(self) -> None:
        if not self.spread > 0:
            raise UsageError(
                f"runs cannot vary by {self.spread:g} at most", hint="--spread 0.05 is the default"
            )

    @property
    def drift(self) -> float:
        """Between the medians of a bundle's rounds: what a ratio inside the rounds still bears."""
        return 2 * self.spread


def doubts(record: Record, limits: Limits, shapes: Shapes | None = None) -> list[Doubt]:
    """Return every reason not to trust a record; none is best.

    `shapes` are those that each bundle was built for.
    """
    found = [doubt for check in CHECKS for doubt in check(record, limits)]
    return [*found, *_shapes(record, shapes or {})]


def demand(found: Sequence[Doubt], kept: str, names: Mapping[str, str] | None = None) -> None:
    """Refuse a measurement that is doubted; `kept` says where its record lies, `names` what its
    labels stand for.

    Errors: `edgecc.errors.UnstableError` with every reason.
    """
    if not found:
        return
    reasons = "; ".join(doubt.text for doubt in found)
    if names and len(names) > 1:
        reasons += f" ({', '.join(f'{label} is {name}' for label, name in names.items())})"
    hints = dict.fromkeys(doubt.hint for doubt in found)
    raise UnstableError(
        f"the measurement cannot be trusted: {reasons}",
        hint=f"{'; '.join(hints)}. What was recorded: {kept}",
    )


def _whole(record: Record, limits: Limits) -> Iterator[Doubt]:
    for error in record.errors:
        hint = str(error.get("hint") or AGAIN)
        yield Doubt("error", f"the device reported: {error.get('message')}", hint)
    if record.is_torn:
        yield Doubt(
            "torn",
            f"the record ends in the middle, after {len(record.events)} events",
            "see that the device is there and has space, and measure again",
        )
    if record.damaged:
        yield Doubt("damaged", f"{record.damaged} passes have no readable times")


def _same_device(record: Record, limits: Limits) -> Iterator[Doubt]:
    boots = {s.state["boot_id"] for s in record.states if s.state.get("boot_id")}
    if len(boots | {record.identity.get("boot_id") or next(iter(boots), "")}) > 1:
        yield Doubt("reboot", "the device was started again in the middle")
    modes = [str(mode["name"]) for s in record.states if s.during and (mode := s.state.get("mode"))]
    if len(set(modes)) > 1:
        yield Doubt(
            "mode",
            f"the power mode changed under the run: {', '.join(dict.fromkeys(modes))}",
            "leave nvpmodel alone meanwhile, and measure again",
        )


def _clocks(record: Record, limits: Limits) -> Iterator[Doubt]:
    during = [state.state for state in record.states if state.during]
    told = [*pinned_that_moved(during), *moved(during)]
    if told:
        yield Doubt(
            "clocks",
            f"clocks changed under the run: {', '.join(told)}",
            "let it cool, see what else sets its clocks, or choose a lower --mode",
        )


def _throttling(record: Record, limits: Limits) -> Iterator[Doubt]:
    states = [s.state for s in record.states if s.during or s.when == "after"]
    counters = [dict(_leaves(state.get("throttle"))) for state in states]
    if counters:
        raised = [name for name in counters[-1] if "alarm" in name and _any(counters, name)]
        rose = [
            name
            for name in counters[0]
            if "alarm" not in name and "fan" not in name
            if max(found.get(name, 0.0) for found in counters) > counters[0][name]
        ]
        if raised or rose:
            yield Doubt(
                "throttled",
                f"the device slowed itself down: {', '.join([*raised, *rose])}",
                "cool it, give it a stronger supply, or choose a lower --mode",
            )
    hottest = max((celsius, name) for celsius, name in [(0.0, ""), *_temperatures(states)])
    if hottest[0] >= limits.hot_c:
        yield Doubt("hot", f"{hottest[1]} reached {hottest[0]:.0f} degrees", "let it cool")


def _enough(record: Record, limits: Limits) -> Iterator[Doubt]:
    for bundle in record.bundles:
        rounds, told = record.rounds(bundle), record.called(bundle)
        count = sum(map(len, rounds.values()))
        if count < limits.samples:
            yield Doubt(
                "samples",
                f"{told} has {count} runs, and {limits.samples} are the least",
                "give it longer: --seconds, --rounds",
            )
    several = record.bundles[1:] and record.bundles
    shared = set.intersection(*(set(record.rounds(name)) for name in several)) if several else ()
    if several and len(shared) < limits.rounds:
        yield Doubt(
            "rounds",
            f"{len(shared)} rounds have every bundle, and {limits.rounds} are the least for a "
            "ratio",
            f"--rounds {limits.rounds} or more",
        )


def _steady(record: Record, limits: Limits) -> Iterator[Doubt]:
    quiet = "see that nothing else runs there and that clocks are pinned (as root), or allow more "
    quiet += "with --spread"
    for bundle in record.bundles:
        rounds, told = record.rounds(bundle), record.called(bundle)
        if not rounds:
            continue
        found = latency(rounds)
        if found.spread > limits.spread:
            yield Doubt(
                "spread",
                f"the runs of {told} vary by {found.spread:.1%}, and {limits.spread:.1%} is the "
                "most",
                quiet,
            )
        if found.drift > limits.drift:
            yield Doubt(
                "drift",
                f"the rounds of {told} lie {found.drift:.1%} apart, and {limits.drift:.1%} is "
                "the most",
                quiet,
            )
        if abs(found.trend) > limits.drift:
            yield Doubt(
                "trend",
                f"inside a round {told} gets {'slower' if found.trend > 0 else 'faster'} by "
                f"{abs(found.trend):.1%}: it is not warm, or it heats up",
                quiet,
            )


def _shapes(record: Record, shapes: Shapes) -> Iterator[Doubt]:
    """Unknown sizes that a runner silently took for 1 (trtexec does)."""
    told: set[tuple[str, str]] = set()
    for times in record.times:
        for name, bound in times.shapes.items():
            asked = shapes.get(times.bundle, {}).get(name)
            if asked is None or (times.bundle, name) in told:
                continue
            asked = _sized(asked, (record.job.get("shapes") or {}).get(name))
            fits = len(asked) == len(bound) and all(
                a in (None, b) for a, b in zip(asked, bound, strict=True)
            )
            if not fits:
                told.add((times.bundle, name))
                sizes = ["x".join("?" if s is None else str(s) for s in x) for x in (bound, asked)]
                yield Doubt(
                    "shapes",
                    f"the input {name} of {record.called(times.bundle)} was run as {sizes[0]}, "
                    f"not {sizes[1]}",
                    "fix the sizes with --shape when building",
                )


def _sized(built: Sequence[int | None], asked: Any) -> list[int | None]:
    """The sizes that were built for; where they are open, those that the device was told."""
    told = asked if isinstance(asked, list) and len(asked) == len(built) else [None] * len(built)
    return [of if size is None else size for size, of in zip(built, told, strict=True)]


CHECKS: tuple[Callable[[Record, Limits], Iterator[Doubt]], ...] = (
    _whole,
    _same_device,
    _clocks,
    _throttling,
    _enough,
    _steady,
)


def _leaves(found: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested data, by its path."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(found, list):
        for index, value in enumerate(found):
            yield from _leaves(value, f"{name}.{index}")
    elif isinstance(found, (int, float)):
        yield name, float(found)


def _any(counters: Sequence[Mapping[str, float]], name: str) -> bool:
    return any(found.get(name) for found in counters)


def _temperatures(states: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, str]]:
    for state in states:
        for name, celsius in (state.get("temps_c") or {}).items():
            if isinstance(celsius, (int, float)) and celsius < 200:  # 255 is a sensor that is off
                yield float(celsius), name
