"""Tables of power and energy for the terminal, made from the record alone."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from edgecc.report.tables import table

Record = dict[str, Any]
FIRST = 3
"""Malformed lines that are shown."""


def show_power(out: Console, notes: Console, found: Record) -> None:
    """Show the loads of a log, and what of it could not be read."""
    board = found["board"] or " or ".join(found["boards"]) or "an unknown board"
    total = " + ".join(found["total_rails"]) or "refused"
    out.print(
        f"{found['file']}: {found['samples']} samples of {board}, {found['interval_s']:g} s apart "
        f"({found['interval_from']}); total: {total}"
    )
    _show_levels(out, found)
    if found["runs"] is not None:
        _show_runs(out, found)
    if found["malformed_count"]:
        _show_malformed(notes, found)
    for note in found["notes"]:
        notes.print(f"note: {note}")


def _show_levels(out: Console, found: Record) -> None:
    """Power by rail, of idle and of every load."""
    names = list(found["whole"]["power_mw"])
    rows = table("", "=start s", "=seconds", *(f"={name} W" for name in names), "=energy J")
    if idle := found["idle"]:
        rows.add_row("idle", "", "", *_powers(idle, names), "")
    told = [(f"phase {n}", phase) for n, phase in enumerate(found["phases"], start=1)]
    for label, phase in told or [("whole log", found["whole"])]:
        energy, wrong = (phase[key]["total"] for key in ("energy_mj", "energy_uncertainty_mj"))
        rows.add_row(
            label,
            f"{phase['start_s']:.1f}",
            _with(phase["duration_s"], phase["duration_uncertainty_s"], 1),
            *_powers(phase, names),
            _with(energy, wrong, 1, 1000),
        )
    out.print(rows)


def _show_runs(out: Console, found: Record) -> None:
    """Time and energy of a run."""
    names = list(found["whole"]["power_mw"])
    rows = table("a run of", "=ms", *(f"={name} mJ" for name in names))
    for number, phase in enumerate(found["phases"], start=1):
        energy, wrong = phase["energy_mj_per_run_by_rail"], "energy_uncertainty_mj_per_run_by_rail"
        rows.add_row(
            f"phase {number}",
            _with(phase["ms_per_run"], phase["ms_per_run_uncertainty"], 2),
            *(_with(energy[name], phase[wrong][name], 1) for name in names),
        )
    out.print(rows)


def _show_malformed(notes: Console, found: Record) -> None:
    count = found["malformed_count"]
    notes.print(f"{count} malformed {'line' if count == 1 else 'lines'}, left out:")
    for line in found["malformed"][:FIRST]:
        notes.print(f"  line {line['line']}: {line['reason']}: {line['text'][:60]!r}")
    if count > FIRST:
        notes.print(f"  and {count - FIRST} more")


def _powers(level: Record, names: list[str]) -> list[str]:
    wrong = level["power_uncertainty_mw"]
    return [_with(level["power_mw"][name], wrong[name], 2, 1000) for name in names]


def _with(value: float | None, wrong: float | None, digits: int, of: float = 1) -> str:
    """A number and what is uncertain about it; "-" where it is not known."""
    if value is None or wrong is None:
        return "-"
    return f"{value / of:.{digits}f} ±{wrong / of:.{digits}f}"
