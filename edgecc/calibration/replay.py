"""Runs a network operator by operator over the calibration samples, keeping only what is still
needed: the activations at the current cut, on disk where they are large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecc.calibration.pieces import Batches, Network, reads
from edgecc.target import Arrays

IN_MEMORY_BYTES = 1_500_000_000


class Store:
    """Arrays by name and batch; beyond a limit they lie in files in `scratch`."""

    def __init__(self, scratch: Path, limit_bytes: int = IN_MEMORY_BYTES) -> None:
        self._scratch, self._limit = scratch, limit_bytes
        self._held: dict[str, Batches] = {}
        self._bytes = 0
        self._files = 0

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def __getitem__(self, name: str) -> Batches:
        return self._held[name]

    def names(self) -> list[str]:
        """What it holds."""
        return list(self._held)

    def put(self, name: str, array: Any) -> None:
        """Append a batch of the value `name`."""
        array = np.asarray(array)
        if self._bytes + array.nbytes > self._limit:
            self._files += 1
            path = self._scratch / f"{id(self)}-{self._files}.npy"
            np.save(path, array)
            array = np.load(path, mmap_mode="r")
        else:
            self._bytes += array.nbytes
        self._held.setdefault(name, []).append(array)

    def drop(self, name: str) -> None:
        """Forget a value."""
        for array in self._held.pop(name, []):
            if isinstance(array, np.memmap):
                Path(str(array.filename)).unlink(missing_ok=True)
            else:
                self._bytes -= array.nbytes


class Replay:
    """One network run twice, side by side: as it was, and as it is being rewritten.

    `stops` walks its nodes in order; at a stop everything before has been computed on both sides.
    Where nothing has changed the two sides share their numbers.
    """

    def __init__(self, model: ir.Model, feeds: Sequence[Arrays], scratch: Path) -> None:
        self._network = Network(model)
        self._order = list(model.graph)
        self._batches = len(feeds)
        self._was, self._is = Store(scratch), Store(scratch)
        kept = {value.name or "" for value in model.graph.outputs}
        self._last_use: dict[str, int] = dict.fromkeys(kept, len(self._order))
        for index, node in enumerate(self._order):
            for value in reads(node):
                name = value.name or ""
                self._last_use[name] = max(index, self._last_use.get(name, 0))
        for feed in feeds:
            for name, array in feed.items():
                self._was.put(name, array)

    def stops(self, at: Callable[[ir.Node], bool]) -> Iterator[ir.Node]:
        """Yield the nodes where `at` holds, once their inputs are there; then go on from them."""
        pending: list[ir.Node] = []
        for index, node in enumerate(self._order):
            if not at(node):
                pending.append(node)
                continue
            self._run(pending, index)
            pending = []
            self._forget(index - 1)
            yield node
            if (node.outputs[0].name or "") not in self._was:
                self.compute(node)
            self._forget(index)
        self._run(pending, len(self._order))

    def before(self, name: str) -> Batches:
        """A value of the network as it was."""
        return self._was[name]

    def now(self, name: str) -> Batches:
        """A value of the network as it is."""
        return self._is[name] if name in self._is else self._was[name]

    def changed(self, name: str) -> bool:
        """Whether a value differs between the two."""
        return name in self._is

    def known(self, name: str) -> bool:
        """Whether a value has been computed, on both sides."""
        return name in self._was

    def compute(self, node: ir.Node) -> Batches:
        """Run a node as it stands, on what it was given before; return its first output."""
        self._record(self._was, [node], self._was, 0, set())
        return self._was[node.outputs[0].name or ""]

    def follow(self, nodes: Sequence[ir.Node], outputs: Sequence[str]) -> None:
        """Run the nodes that took a node's place on what the rewritten network feeds them."""
        inside = {value.name for node in nodes for value in node.outputs}
        inputs = {
            name: self.now(name)
            for node in nodes
            for name in (value.name or "" for value in reads(node) if value.const_value is None)
            if name not in inside
        }
        made = [v for node in nodes for v in node.outputs if v.name in outputs]
        for name, batches in self._network.run(nodes, inputs, made, self._batches).items():
            self._is.drop(name)
            for array in batches:
                self._is.put(name, array)

    def _run(self, nodes: list[ir.Node], until: int) -> None:
        """Run nodes on both sides, on the second those alone that see a change; what no node from
        number `until` on reads is not kept.
        """
        changed: set[str] = set()
        affected, shared = [], set()
        for node in nodes:
            names = {value.name or "" for value in reads(node)}
            if any(name in self._is or name in changed for name in names):
                affected.append(node)
                changed |= {value.name or "" for value in node.outputs}
                shared |= names - changed
        self._record(self._was, nodes, self._was, until, shared)
        self._record(self._is, affected, None, until, set())

    def _record(
        self,
        store: Store,
        nodes: list[ir.Node],
        source: Store | None,
        until: int,
        also: set[str],
    ) -> None:
        if not nodes:
            return
        made = {value.name or "": value for node in nodes for value in node.outputs if value.name}
        inputs = {}
        for node in nodes:
            for value in reads(node):
                name = value.name or ""
                if value.const_value is None and name not in made and name not in inputs:
                    inputs[name] = source[name] if source else self.now(name)
        kept = {name for name in made if self._last_use.get(name, -1) >= until} | also
        wanted = [value for name, value in made.items() if name in kept]
        if not wanted:
            return
        for name, batches in self._network.run(nodes, inputs, wanted, self._batches).items():
            for array in batches:
                store.put(name, array)

    def _forget(self, index: int) -> None:
        """Drop what no node after `index` reads."""
        for store in (self._was, self._is):
            for name in store.names():
                if self._last_use.get(name, -1) <= index:
                    store.drop(name)
