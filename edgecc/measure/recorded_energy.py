"""The energy of a run, from the record of a measuring session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecc.errors import UnstableError
from edgecc.hardware import Power
from edgecc.measure import energy as physics
from edgecc.measure.energy import Mean, Window
from edgecc.measure.power_sources import Event, Source, source
from edgecc.measure.series import Array

ByRail = dict[str, float]
"""By the name of the rail, and `total` where it has one meaning."""


@dataclass(frozen=True)
class Round:
    """One energy pass; energies of one run."""

    round: int
    runs: int
    duration_s: float
    power_mw: ByRail
    energy_mj: ByRail
    marginal_mj: ByRail | None
    """Above what idling in the same round would have taken; None where idle was not measured."""


@dataclass(frozen=True)
class Energy:
    """What a run of a bundle takes. Uncertainties are about 95 % sure (`edgecc.measure.energy`)."""

    bundle: str
    source: str
    """`ina3221`, `tegrastats` or `rapl`."""
    refused: str | None
    """Why there is no total."""
    runs: int
    duration_s: float
    samples: int
    power_mw: ByRail
    power_uncertainty_mw: ByRail
    energy_mj: ByRail
    """Of one run, everything that the board drew meanwhile."""
    energy_uncertainty_mj: ByRail
    idle_mw: ByRail | None
    marginal_mj: ByRail | None
    """Of one run, without what the board draws idle."""
    marginal_uncertainty_mj: ByRail | None
    rounds: tuple[Round, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            **vars(self),
            "rounds": [vars(each) for each in self.rounds],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Pass:
    round: int
    start_s: float
    end_s: float
    runs: int

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


def energy(
    events: Sequence[Event],
    bundle: str,
    boards: Mapping[str, Power],
    target: str | None = None,
) -> Energy:
    """Return the energy of a run of `bundle` (its label in the job): all its energy passes.

    `boards` are those whose sensors are known; `target` is the board, found by the names of its
    rails if left away. Errors: `edgecc.errors.UnstableError` for a record without energy passes of
    the bundle, or without enough samples of power in them.
    """
    passes = _passes(events, bundle)
    if not passes:
        raise UnstableError(
            f"the record has no energy pass of {bundle}", hint="measure with energy switched on"
        )
    sensors, notes = source(events, boards, target)
    idle_in = _idle(events)
    idle = sensors.mean(list(idle_in.values())) if idle_in else None
    if idle is None:
        notes = [*notes, "idle was not measured: no energy above it can be told"]
    level = sensors.mean([(one.start_s, one.end_s) for one in passes])
    seconds, runs = sum(one.seconds for one in passes), sum(one.runs for one in passes)
    told = physics.window(level, passes[0].start_s, seconds, idle=idle)
    return Energy(
        bundle=bundle,
        source=sensors.name,
        refused=sensors.refused,
        runs=runs,
        duration_s=seconds,
        samples=level.samples,
        idle_mw=_by_rail(sensors, idle.power_mw) if idle else None,
        rounds=tuple(_round(sensors, one, idle_in.get(one.round)) for one in passes),
        notes=tuple(notes),
        **_of_a_run(sensors, told, runs),
    )


def _of_a_run(sensors: Source, told: Window, runs: int) -> dict[str, Any]:
    marginal, wrong = told.marginal_mj, told.marginal_uncertainty_mj
    return {
        "power_mw": _by_rail(sensors, told.power_mw),
        "power_uncertainty_mw": _by_rail(sensors, told.power_uncertainty_mw),
        "energy_mj": _by_rail(sensors, told.energy_mj / runs),
        "energy_uncertainty_mj": _by_rail(sensors, told.energy_uncertainty_mj / runs),
        "marginal_mj": None if marginal is None else _by_rail(sensors, marginal / runs),
        "marginal_uncertainty_mj": None if wrong is None else _by_rail(sensors, wrong / runs),
    }


def _round(sensors: Source, one: _Pass, idle: tuple[float, float] | None) -> Round:
    level = sensors.mean([(one.start_s, one.end_s)])
    rested: Mean | None = sensors.mean([idle]) if idle else None
    above = (level.power_mw - rested.power_mw) * one.seconds / one.runs if rested else None
    return Round(
        one.round,
        one.runs,
        one.seconds,
        _by_rail(sensors, level.power_mw),
        _by_rail(sensors, level.power_mw * one.seconds / one.runs),
        None if above is None else _by_rail(sensors, above),
    )


def _passes(events: Sequence[Event], bundle: str) -> list[_Pass]:
    return [
        _Pass(int(e["round"] or 0), e["start_s"], e["end_s"], int(e["runs"]))
        for e in events
        if e["event"] == "phase" and e["name"] == "energy" and e["bundle"] == bundle and e["runs"]
    ]


def _idle(events: Sequence[Event]) -> dict[int, tuple[float, float]]:
    """The idle stretch of each round."""
    return {
        int(event["round"] or 0): (event["start_s"], event["end_s"])
        for event in events
        if event["event"] == "phase" and event["name"] == "idle"
    }


def _by_rail(sensors: Source, values: Array) -> ByRail:
    return dict(zip(sensors.columns, map(float, values), strict=True))
