"""Which operators of the model a row of an engine's layer profile timed.

Engines fuse and rename: TensorRT joins names by ` + ` and ` || `, wraps pointwise chains in
`PWN(...)`, names what Myelin took `{ForeignNode[a...b]}` and its own copies `Reformatting CopyNode
for Input Tensor 0 to a`; onnxruntime names a convolution in blocks of channels by the value that
its fused chain puts out, with `_nchwc` behind, and its copies ReorderInput and ReorderOutput.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgecc.measure.layers import MATRIX, Graph

RowKind = Literal["operators", "copy", "foreign", "unknown"]
COPY = re.compile(r"^Reformatting CopyNode for (?:Input|Output) Tensor \d+ to (?P<of>.+)$")
FOREIGN = re.compile(r"ForeignNode\[")
REORDER = re.compile(r"^Reorder(?:Input|Output)(?:_token_\d+)?$|^reorder_token_\d+$")
BETWEEN = re.compile(r" \+ | \|\| |, ")
FUSED = re.compile(r"(?:_nchwc|_token_\d+|_kernel_time)+$")
SAME_SIZE = ("Relu", "Clip", "Add", "Sum", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid")
"""What a convolution takes along: the walk from a fused chain's output back to it goes on here."""


@dataclass(frozen=True)
class Row:
    """One row of a profile, and what it timed."""

    name: str
    kind: RowKind
    nodes: tuple[str, ...]
    """Of the model; for a copy those that it is made for, where that is told."""
    latency_ms: float


def rows(profile: Iterable[Mapping[str, Any]], graph: Graph) -> list[Row]:
    """Match a profile's rows (`name`, `median_ms` or `average_ms`) with the nodes of a model.

    Rows without a name or a time, as the one that counts the runs, are left out.
    """
    found = []
    for entry in profile:
        name, latency_ms = entry.get("name"), entry.get("median_ms") or entry.get("average_ms")
        if isinstance(name, str) and isinstance(latency_ms, (int, float)) and latency_ms > 0:
            kind, nodes = _match(name, graph)
            found.append(Row(name, kind, tuple(dict.fromkeys(nodes)), float(latency_ms)))
    return found


def times_by_node(found: Iterable[Row], graph: Graph) -> dict[str, float]:
    """Return what each priced operator took, milliseconds, batch and all.

    A row with several convolutions is split by their multiply-adds; a copy made for one
    convolution counts as its own. What a black box took is nobody's.
    """
    times: dict[str, float] = {}
    for row in found:
        if row.kind not in ("operators", "copy"):
            continue
        for name, share in _shares(row, graph):
            times[name] = times.get(name, 0.0) + share * row.latency_ms
    return times


def _shares(row: Row, graph: Graph) -> Iterator[tuple[str, float]]:
    heavy = [name for name in row.nodes if graph.nodes[name] in MATRIX]
    if heavy:
        macs = [graph.layers[name].macs if name in graph.layers else 0 for name in heavy]
        for name, count in zip(heavy, macs, strict=True):
            if count:
                yield name, count / sum(macs)
    elif len(row.nodes) == 1 and row.kind == "operators" and row.nodes[0] in graph.layers:
        yield row.nodes[0], 1.0


def _match(name: str, graph: Graph) -> tuple[RowKind, list[str]]:
    if (copy := COPY.match(name)) is not None:
        return "copy", _nodes(copy["of"], graph)
    plain = FUSED.sub("", name)
    if REORDER.match(name.removesuffix("_kernel_time")) and plain not in graph.nodes:
        return "copy", []
    if FOREIGN.search(name):
        return "foreign", []
    nodes = _nodes(name, graph)
    return ("operators" if nodes else "unknown"), nodes


def _nodes(text: str, graph: Graph) -> list[str]:
    """The nodes that a name is made of, in its order."""
    if text in graph.nodes:
        return [text]
    found = []
    for piece in BETWEEN.split(text.replace("PWN(", "").replace(")", "")):
        node = _node(piece.strip(), graph)
        if node is not None:
            found.append(node)
    return found


def _node(piece: str, graph: Graph) -> str | None:
    if piece in graph.nodes:
        return piece
    blocked = "_nchwc" in piece
    plain = FUSED.sub("", piece)
    if not blocked:
        return plain if plain in graph.nodes else None
    if plain in graph.producers:
        return _back_to_convolution(graph.producers[plain], graph)
    return plain if plain in graph.nodes else None


def _back_to_convolution(node: str, graph: Graph) -> str:
    """The convolution whose fused chain ends in `node`; `node` itself where there is none."""
    at, seen = node, 0
    while graph.nodes[at] in SAME_SIZE and graph.inputs[at] and seen < len(graph.nodes):
        order = list(graph.nodes)
        at, seen = max(graph.inputs[at], key=order.index), seen + 1
    return at if graph.nodes[at] in MATRIX else node
