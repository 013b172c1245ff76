"""The energy of each bundle of a record, beside its times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgecc import catalog
from edgecc.errors import UnstableError
from edgecc.measure.rails import TOTAL
from edgecc.measure.record import Record
from edgecc.measure.recorded_energy import Energy, energy
from edgecc.measure.statistics import Interval, ratio


def energies(record: Record, target: str) -> tuple[dict[str, Energy], list[str]]:
    """Return the energy of a run by bundle, and why there is none of others.

    Nothing is said of a record in which no bundle ran under the sensors.
    """
    boards = {b.name: b.power for b in catalog.targets().values() if b.power is not None}
    found: dict[str, Energy] = {}
    notes = []
    for label in record.bundles:
        if not record.rounds(label, "energy"):
            continue
        try:
            found[label] = energy(record.events, label, boards, target)
        except UnstableError as error:
            notes.append(f"no energy of {record.called(label)}: {error.message}")
    return found, notes


def energy_ratio(found: Mapping[str, Energy]) -> Interval | None:
    """Return the energy of a run of B over that of A, from the rounds; None where not known."""
    totals = {
        label: {one.round: [one.energy_mj[TOTAL]] for one in of.rounds if TOTAL in one.energy_mj}
        for label, of in found.items()
    }
    a, b = totals.get("A", {}), totals.get("B", {})
    above_zero = all(value > 0 for of in (a, b) for (value,) in of.values())
    return ratio(a, b) if len(a.keys() & b.keys()) >= 3 and above_zero else None


def told(of: Energy) -> dict[str, Any]:
    """Return an energy as plain data, with its main figure and a sentence."""
    total = of.energy_mj.get(TOTAL)
    return {**of.to_json(), "energy_mj_per_run": total, "text": _sentence(of)}


def _sentence(of: Energy) -> str:
    if of.refused is not None:
        rails = ", ".join(f"{name} {mj:.4g} mJ" for name, mj in of.energy_mj.items())
        return f"{rails} a run by rail ({of.source}); no total: {of.refused}"
    words = f"{within(of.energy_mj[TOTAL], of.energy_uncertainty_mj[TOTAL])} mJ a run"
    words += f" at {of.power_mw[TOTAL] / 1e3:.3g} W"
    if of.marginal_mj is not None and of.marginal_uncertainty_mj is not None and of.idle_mw:
        above = within(of.marginal_mj[TOTAL], of.marginal_uncertainty_mj[TOTAL])
        words += f", {above} mJ of it above the {of.idle_mw[TOTAL] / 1e3:.3g} W of idling"
    return f"{words} (95%, by {of.source})"


def within(value: float, wrong: float) -> str:
    """Return a number and its uncertainty, both to the uncertainty's second digit."""
    if not 0 < wrong < math.inf:
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(wrong))
    shown = [round(number, digits) + 0.0 for number in (value, wrong)]
    return f"{shown[0]:.{max(0, digits)}f} ± {shown[1]:.{max(0, digits)}f}"
