"""The clocks of a device as its states tell them, and which of them moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

TOLERANCE = 0.02
"""Of a clock: registers are read between two steps of a divider."""
DeviceState = Mapping[str, Any]


class Clock(NamedTuple):
    """One clock at one moment, MHz; None where the device does not tell."""

    low_mhz: float | None
    high_mhz: float | None
    now_mhz: float | None

    @property
    def is_pinned(self) -> bool:
        """Whether it has one frequency to run at."""
        return self.low_mhz is not None and self.low_mhz == self.high_mhz


def clocks(state: DeviceState) -> dict[str, Clock]:
    """Return the clocks of every core that is on, of the GPU and of the memory."""
    found = {
        f"CPU {cpu.get('cpu')}": _clock(cpu, "khz", 1e3)
        for cpu in state.get("cpus") or []
        if cpu.get("online", True)
    }
    for key, name in (("gpu", "GPU"), ("emc", "memory")):
        if isinstance(state.get(key), Mapping):
            found[name] = _clock(state[key], "hz", 1e6)
    return {name: clock for name, clock in found.items() if any(clock)}


def are_pinned(states: Sequence[DeviceState]) -> bool | None:
    """Return whether each core and the GPU has one frequency; None where no clock is told."""
    told = [clock for state in states[:1] for name, clock in clocks(state).items() if clock.low_mhz]
    return all(clock.is_pinned for clock in told) if told else None


def pinned_that_moved(states: Sequence[DeviceState]) -> Iterator[str]:
    """Yield, in words, each clock that is pinned and did not keep what it ran at first.

    One that never reaches what it is set to is steady all the same.
    """
    first: dict[str, float] = {}
    worst: dict[str, tuple[float, float]] = {}
    for state in states:
        for name, clock in clocks(state).items():
            if not clock.is_pinned or clock.now_mhz is None:
                continue
            kept = first.setdefault(name, clock.now_mhz)
            if abs(clock.now_mhz / kept - 1) > TOLERANCE:
                worst[name] = (kept, clock.now_mhz)
    for name, (kept, found) in worst.items():
        yield f"{name} is pinned, and went from {kept:.0f} to {found:.0f} MHz"


def moved(states: Sequence[DeviceState]) -> Iterator[str]:
    """Yield, in words, each clock whose bounds changed, and cores that went on or off."""
    if not states:
        return
    first = clocks(states[0])
    told: set[str] = set()
    for state in states[1:]:
        now = clocks(state)
        for name in sorted(first.keys() ^ now.keys() - told):
            told.add(name)
            yield f"{name} went {'off' if name in first else 'on'}"
        for name in sorted(first.keys() & now.keys() - told):
            if first[name][:2] != now[name][:2]:
                told.add(name)
                yield f"{name} was {_bounds(first[name])} and became {_bounds(now[name])}"


def _clock(found: Mapping[str, Any], unit: str, of_mhz: float) -> Clock:
    values = [found.get(f"{key}_{unit}") for key in ("min", "max", "cur")]
    return Clock(*(v / of_mhz if isinstance(v, (int, float)) and v > 0 else None for v in values))


def _bounds(clock: Clock) -> str:
    low, high = clock.low_mhz or 0, clock.high_mhz or 0
    return f"{high:.0f} MHz" if low == high else f"{low:.0f} to {high:.0f} MHz"
