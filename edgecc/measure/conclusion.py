"""What a trace comes to: the measurement, its layers beside their predictions, prices to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecc import catalog
from edgecc.measure import prices
from edgecc.measure.analysis import Measurement, analyse
from edgecc.measure.energies import energies, energy_ratio, told
from edgecc.measure.layers import Graph
from edgecc.measure.record import Record
from edgecc.measure.trace import Trace
from edgecc.measure.trust import Doubt, Limits, demand
from edgecc.planning.prices import Prices
from edgecc.target import Target


@dataclass(frozen=True)
class Conclusion:
    """A measurement and where it is kept."""

    trace: Trace
    measurement: Measurement
    data: dict[str, Any]
    """The content of measurement.json."""

    def demand(self) -> None:
        """Refuse what cannot be trusted. Errors: `edgecc.errors.UnstableError`."""
        demand(self.measurement.doubts, str(self.trace.record), self.measurement.names)


def conclude(
    trace: Trace,
    folders: Mapping[str, Path],
    board: Target,
    limits: Limits,
    known: Sequence[Doubt] | None = None,
) -> Conclusion:
    """Analyse what a trace holds, write measurement.json, and keep the prices of its layers.

    `folders` are the bundles by label, as far as they are on this machine; `known` as `analyse`
    takes it.
    Errors: `edgecc.errors.UsageError` for a broken record, `edgecc.errors.UnstableError` for one
    without any times.
    """
    record = Record.read(trace.record)
    environment = trace.environment()
    measurement = analyse(record, environment, limits, known)
    data = measurement.to_json()
    data["record"] = trace.record.name
    _add_energy(data, record, measurement, board)
    data["layers"], data["prices"] = _layers(record, measurement, environment, folders, board)
    trace.keep_measurement(data)
    return Conclusion(trace, measurement, data)


def _add_energy(
    data: dict[str, Any], record: Record, measurement: Measurement, board: Target
) -> None:
    """Add what each bundle took under the sensors; of several boards each has its own."""
    if measurement.environment.get("boards"):
        return
    found, notes = energies(record, board.name)
    for label, of in found.items():
        data["bundles"][label]["energy"] = told(of)
    between = None if measurement.doubts else energy_ratio(found)
    data["energy_ratio"] = between.to_json() if between else None
    data["notes"] += [*notes, *dict.fromkeys(note for of in found.values() for note in of.notes)]


def _layers(
    record: Record,
    measurement: Measurement,
    environment: Mapping[str, Any],
    folders: Mapping[str, Path],
    board: Target,
) -> tuple[dict[str, list[dict[str, Any]]], str | None]:
    """Compare each layer with its prediction, then add the layers to the price table.

    What cannot be trusted becomes no price. Returns the rows by bundle, and the table's file.
    """
    described, kept = environment.get("bundles") or {}, None
    found: dict[str, list[dict[str, Any]]] = {}
    graphs: dict[str, Graph] = {}
    for event in record.of("profile"):
        label, rows = str(event.get("bundle", "A")), event.get("layers")
        if label in folders and isinstance(rows, list) and rows:
            graphs[label] = graph = Graph.of_bundle(folders[label])
            backend = described.get(label, {}).get("backend") or board.backend
            found[label] = prices.compared(rows, graph, predicted(board, backend))
    if measurement.doubts:
        return found, None
    for event in record.of("profile"):
        label = str(event.get("bundle", "A"))
        if label in found:
            of = described.get(label, {})
            place = prices.Place.of(board.name, of.get("backend") or board.backend, record, of)
            entries = prices.measured_entries(event["layers"], graphs[label])
            kept = prices.keep(place, entries) or kept
    return found, str(kept) if kept else None


def predicted(board: Target, backend: str) -> Prices | None:
    """Return what layers were expected to take, from what is known so far."""
    if board.peaks is None:
        return None
    return catalog.prices(board, prices.found(board.name, backend))
