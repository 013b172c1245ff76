"""Tables of power and energy for the terminal, made from the record alone."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.measure import Measurement

from edgecc.report.tables import table

Record = dict[str, Any]
GAP = 3
"""Between two columns."""
WIDEST = 10_000
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
    rows = []
    if idle := found["idle"]:
        rows.append(["idle", "", "", *_powers(idle, names), ""])
    told = [(f"phase {n}", phase) for n, phase in enumerate(found["phases"], start=1)]
    for label, phase in told or [("whole log", found["whole"])]:
        energy, wrong = (phase[key]["total"] for key in ("energy_mj", "energy_uncertainty_mj"))
        rows.append(
            [
                label,
                f"{phase['start_s']:.1f}",
                _with(phase["duration_s"], phase["duration_uncertainty_s"], 1),
                *_powers(phase, names),
                _with(energy, wrong, 1, 1000),
            ]
        )
    _print(out, ["", "start s", "seconds", *(f"{name} W" for name in names), "energy J"], rows)


def _show_runs(out: Console, found: Record) -> None:
    """Time and energy of a run."""
    names = list(found["whole"]["power_mw"])
    rows = []
    for number, phase in enumerate(found["phases"], start=1):
        energy, wrong = phase["energy_mj_per_run_by_rail"], "energy_uncertainty_mj_per_run_by_rail"
        rows.append(
            [
                f"phase {number}",
                _with(phase["ms_per_run"], phase["ms_per_run_uncertainty"], 2),
                *(_with(energy[name], phase[wrong][name], 1) for name in names),
            ]
        )
    _print(out, ["a run of", "ms", *(f"{name} mJ" for name in names)], rows)


def _print(out: Console, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table of numbers. Where the terminal is too narrow its rows become columns, as many
    in each table as there is room for: a number that is broken over lines is another number.
    """
    whole = table(columns[0], *(f"={column}" for column in columns[1:]))
    for row in rows:
        whole.add_row(*row)
    if Measurement.get(out, out.options.update(max_width=WIDEST), whole).maximum <= out.width:
        out.print(whole)
        return
    room = out.width - max(map(len, columns)) - GAP
    count = max(1, room // (max(len(cell) for row in rows for cell in row) + GAP))
    for first in range(0, len(rows), count):
        part = rows[first : first + count]
        turned = table(columns[0], *(f"={row[0]}" for row in part))
        for index, column in enumerate(columns[1:], start=1):
            turned.add_row(column, *(row[index] for row in part))
        out.print(turned)


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
