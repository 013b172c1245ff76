"""What a device measured layer by layer, kept for the plans that come.

A table holds for one board, backend, set of versions and of clocks; the tables lie in the user's
cache and grow with each profile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgecc.calibration.cache import cache_folder
from edgecc.errors import UsageError
from edgecc.layers import Layer
from edgecc.measure.clocks import clocks
from edgecc.measure.layers import Graph
from edgecc.measure.profile import Row, rows, times_by_node
from edgecc.measure.record import Record
from edgecc.planning.measured import Entry, PriceTable
from edgecc.planning.prices import Prices, signature

MADE_BY = {"tvm": "apache-tvm", "onnxruntime": "onnxruntime"}
"""What a backend is called as a package, where its version here decides how long a layer takes."""


@dataclass(frozen=True)
class Place:
    """What prices hold for."""

    board: str
    """The name of the target."""
    backend: str
    versions: dict[str, str]
    clocks: dict[str, str | float]

    @classmethod
    def of(
        cls,
        board: str,
        backend: str,
        record: Record,
        described: Mapping[str, Any],
    ) -> Place:
        """Return the place of a measurement: what the device said of itself, and what of its bundle
        decides how long a layer takes.
        """
        identity = record.identity
        parts = sorted(
            {
                f"{cpu.get('implementer')}:{part}"
                for cpu in _cpus(identity)
                if (part := cpu.get("part"))
            }
        )
        told = {
            backend: (described.get("versions") or {}).get(MADE_BY.get(backend)),
            "l4t": identity.get("l4t"),
            "tensorrt": identity.get("tensorrt"),
            "module": identity.get("module") or identity.get("model"),
            "cpu": ", ".join(parts),
        }
        state = next((state.state for state in record.states if state.during), {})
        bounds: dict[str, Any] = {
            "mode": (state.get("mode") or {}).get("name"),
            "threads": record.job.get("threads"),
            "precision": (described.get("engine") or {}).get("precision"),
            **{f"{name} MHz": clock.high_mhz for name, clock in clocks(state).items()},
        }
        versions = {key: str(value) for key, value in told.items() if value}
        return cls(board, backend, versions, {key: of for key, of in bounds.items() if of})

    @property
    def path(self) -> Path:
        """The file of its table."""
        told = json.dumps([self.versions, self.clocks], sort_keys=True)
        digest = hashlib.sha256(told.encode()).hexdigest()[:12]
        return folder() / f"{self.board}-{self.backend}-{digest}.json"


def folder() -> Path:
    """Return where the tables lie."""
    return cache_folder() / "prices"


def measured_entries(profile: Iterable[Mapping[str, Any]], graph: Graph) -> list[Entry]:
    """Return the prices that a layer profile gives, of one sample each.

    Operators alike in everything that a price depends on share one: their median.
    """
    times = times_by_node(rows(profile, graph), graph)
    alike: defaultdict[str, list[float]] = defaultdict(list)
    layers: dict[str, Layer] = {}
    for name, latency_ms in times.items():
        if (layer := graph.layers.get(name)) is not None:
            layers[signature(layer)] = layer
            alike[signature(layer)].append(latency_ms / graph.batch)
    return [Entry.of(layers[key], statistics.median(found)) for key, found in alike.items()]


def keep(place: Place, entries: Iterable[Entry]) -> Path | None:
    """Add entries to the table of a place, newer ones in place of older; return its file.

    None where there is nothing to keep, or the cache cannot be written.
    """
    new = {signature(entry.layer): entry for entry in entries}
    if not new:
        return None
    before: dict[str, Entry] = {}
    with contextlib.suppress(UsageError):  # none yet, or one that an older edgecc wrote
        before = {signature(e.layer): e for e in PriceTable.read(place.path).entries}
    table = PriceTable(
        schema_version=1,
        board=place.board,
        backend=place.backend,
        versions=place.versions,
        clocks=place.clocks,
        entries=tuple({**before, **new}.values()),
    )
    try:
        place.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.path.parent, suffix=".partial")
        with os.fdopen(handle, "w") as file:
            file.write(table.to_json())
        os.replace(name, place.path)
    except OSError:
        return None
    return place.path


def found(board: str, backend: str) -> Path | None:
    """Return the table that was added to last for a board and a backend, None where none was.

    What another version of the backend took, or other threads than a runner's own, tells nothing
    of what is built now: such tables do not count.
    """
    dated = []
    for path in folder().glob(f"{board}-{backend}-*.json"):
        with contextlib.suppress(OSError, UsageError):
            table = PriceTable.read(path)
            if (table.board, table.backend) == (board, backend) and _holds(table):
                dated.append((path.stat().st_mtime_ns, path))
    return max(dated)[1] if dated else None


def _holds(table: PriceTable) -> bool:
    """Whether what is built now would run as what was measured did."""
    if "threads" in table.clocks:
        return False
    try:
        here = version(MADE_BY[table.backend])
    except (KeyError, PackageNotFoundError):  # the board's own decides
        return True
    return table.versions.get(table.backend) in (None, here)


def compared(
    profile: Iterable[Mapping[str, Any]], graph: Graph, predicted: Prices | None
) -> list[dict[str, Any]]:
    """Return a profile by row, with what was predicted of the operators in it, for the record."""
    return [_compared(row, graph, predicted) for row in rows(profile, graph)]


def _compared(row: Row, graph: Graph, predicted: Prices | None) -> dict[str, Any]:
    layers = [graph.layers[name] for name in row.nodes if name in graph.layers]
    heavy = [layer for layer in layers if layer.weight]
    expected = None
    if predicted is not None and row.kind == "operators" and layers:
        expected = predicted.latency_ms(heavy or layers) * graph.batch
    return {
        "name": row.name,
        "kind": row.kind,
        "nodes": list(row.nodes),
        "operators": [graph.nodes[name] for name in row.nodes if name in graph.nodes],
        "measured_ms": row.latency_ms,
        "predicted_ms": expected,
    }


def _cpus(identity: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    told = identity.get("cpus")
    return [cpu for cpu in told if isinstance(cpu, Mapping)] if isinstance(told, list) else []
