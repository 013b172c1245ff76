"""Runs a network operator by operator over the calibration samples, keeping only what is still
needed: the activations at the current cut, on disk where they are large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx_ir as ir

from edgecc.calibration.order import shortcuts_first
from edgecc.calibration.pieces import Network, reads
from edgecc.calibration.store import Batches, Store
from edgecc.target import Arrays

IN_MEMORY_BYTES = 1_500_000_000


class Replay:
    """One network run twice, side by side: as it was, and as it is being rewritten.

    `stops` walks its nodes, shortcuts first (`edgecc.calibration.order`); at a stop everything
    before has been computed on both sides, and the node itself as it was. Where nothing has changed
    the two sides share their numbers.
    """

    def __init__(
        self,
        model: ir.Model,
        feeds: Sequence[Arrays],
        scratch: Path,
        limit_bytes: int = IN_MEMORY_BYTES,
    ) -> None:
        self._network = Network(model)
        self._order = shortcuts_first(model.graph)
        self._batches = len(feeds)
        self._was, self._is = (Store(scratch, limit_bytes // 2) for _ in range(2))
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
        """Yield the nodes where `at` holds, once their outputs are there; then go on from them."""
        pending: list[ir.Node] = []
        for index, node in enumerate(self._order):
            if not at(node):
                pending.append(node)
                continue
            self._run(pending, index)
            pending = []
            self._forget(index - 1)
            self._record(self._was, [node], self._was, -1, set())
            yield node
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
        for value in made:
            self._is.drop(value.name or "")
        for found in self._network.run(nodes, inputs, made, self._batches):
            for name, array in found.items():
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
        for found in self._network.run(nodes, inputs, wanted, self._batches):
            for name, array in found.items():
                store.put(name, array)

    def _forget(self, index: int) -> None:
        """Drop what no node after `index` reads."""
        for store in (self._was, self._is):
            for name in store.names():
                if self._last_use.get(name, -1) <= index:
                    store.drop(name)
