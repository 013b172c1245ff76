"""What a line of tegrastats tells, as `edgecc.measure.tegrastats` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

CONSTANT_ZONES = frozenset({"PMIC"})
"""Zones whose value is no temperature: PMIC is 50 or 100 always."""


@dataclass(frozen=True)
class Memory:
    """Main memory, MB; the largest free blocks as (count, size in kB), or None."""

    used_mb: int
    total_mb: int
    free_blocks: tuple[int, int] | None = None


@dataclass(frozen=True)
class Swap:
    """Swap space, MB."""

    used_mb: int
    total_mb: int
    cached_mb: int


@dataclass(frozen=True)
class Load:
    """How busy something is (percent) and its clocks (MHz); what is not printed is None or ()."""

    percent: int | None = None
    mhz: tuple[int, ...] = ()
    off: bool = False


@dataclass(frozen=True)
class Temperature:
    """A zone's temperature and, from JetPack 7 on, its highest; None is a sensor that is off."""

    celsius: float | None
    highest_c: float | None = None


@dataclass(frozen=True)
class Reading:
    """A rail: power now, since this tegrastats began on average, and at most (JetPack 7)."""

    power_mw: int
    average_mw: int
    peak_mw: int | None = None


@dataclass(frozen=True)
class Line:
    """A line of tegrastats. Order of rails and zones as printed."""

    time: datetime | None = None
    ram: Memory | None = None
    swap: Swap | None = None
    iram_kb: tuple[int, int] | None = None
    """Used and total."""
    cpus: tuple[Load, ...] = ()
    emc: Load | None = None
    """The memory controller."""
    gr3d: Load | None = None
    """The GPU."""
    gr3d2: Load | None = None
    engines: dict[str, Load] = field(default_factory=dict)
    """Fixed-function units: APE, NVENC, NVDLA0, VIC, ..."""
    mts: tuple[int, int] | None = None
    """Foreground and background percent of code translation (Carmel, Denver)."""
    temperatures: dict[str, Temperature] = field(default_factory=dict)
    rails: dict[str, Reading] = field(default_factory=dict)
    in_milliwatts: bool = False
    """Whether rails are printed with their unit, as from JetPack 5 on."""
    unknown: tuple[str, ...] = ()
    """Fields that are not known, verbatim."""

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature of all zones that measure one."""
        told = [
            zone.celsius
            for name, zone in self.temperatures.items()
            if zone.celsius is not None and name not in CONSTANT_ZONES
        ]
        return max(told, default=None)


@dataclass(frozen=True)
class Malformed:
    """A line that is none of tegrastats, or a damaged one, and why."""

    text: str
    reason: str
    torn: bool
    """Whether it stands for a sample that was lost."""
