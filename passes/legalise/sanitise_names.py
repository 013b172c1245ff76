"""sanitise_names: names that nothing on the way to an engine stumbles over.

Before:  a Conv named 'model/conv"1":0', its output "x:0"
After:   a Conv named "model/conv_1_0", its output "x_0"
Letters, digits and `_ . / -`, at most 100 of them, each name once in the whole model, subgraphs
included: TensorRT writes layer names into its JSON without escaping them, and joins them with
" + ". A name that is so already stays. Exact. Inputs and outputs keep theirs, which are the
user's; one with a quote, a backslash or a control character is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from edgecc.errors import BuildError
from edgecc.rewrite import Decision, Pass, Room
from passes.prepare.name_everything import NameEverything

LONGEST = 100
_FOREIGN = re.compile(r"[^A-Za-z0-9_./-]+")
_BREAKS_JSON = re.compile(r'["\\\x00-\x1f\x7f]')


@dataclass(frozen=True)
class SanitiseNames(Pass):
    """Short plain names, each of them once."""

    name: ClassVar[str] = "sanitise_names"
    room: ClassVar[Room] = "legalise"

    def run(self, model: ir.Model) -> list[Decision]:
        """Rename nodes and values; inputs and outputs stay as they are."""
        NameEverything().run(model)
        interface = {*model.graph.inputs, *model.graph.outputs}
        for value in interface:
            if _BREAKS_JSON.search(value.name or ""):
                raise BuildError(
                    f"the model has an input or output named {value.name!r}; TensorRT writes names "
                    "into JSON as they are",
                    hint="rename it and export the model again",
                )
        nodes, values = list(model.graph.all_nodes()), list(dict.fromkeys(_values(model)))
        renamed = _renamed([node.name or "" for node in nodes], set())
        decisions = []
        for node, name in zip(nodes, renamed, strict=True):
            if node.name != name:
                note = f"was called {node.name!r}"
                decisions.append(Decision(name, self.name, note=note))
                node.name = name
        inner = [value for value in values if value not in interface]
        taken = {value.name or "" for value in interface}
        for value, name in zip(inner, _renamed([v.name or "" for v in inner], taken), strict=True):
            if value.name != name:
                value.name = name
        return decisions


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """All values of the model, in a fixed order."""
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from graph.inputs
        yield from graph.initializers.values()
    for node in model.graph.all_nodes():
        yield from node.outputs


def _renamed(names: list[str], taken: set[str]) -> list[str]:
    """New names in the same order: sound ones stay, the first of each."""
    kept = {name for name in names if _plain(name) == name} - taken
    used, found = taken | kept, []
    for name in names:
        if name in kept:
            kept.discard(name)
            found.append(name)
            continue
        found.append(_fresh(_plain(name), used))
        used.add(found[-1])
    return found


def _plain(name: str) -> str:
    """The name in plain characters; a long one keeps both its ends around a digest of it."""
    plain = _FOREIGN.sub("_", name)
    if len(plain) <= LONGEST:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    side = (LONGEST - len(digest) - 2) // 2
    return f"{plain[:side]}.{digest}.{plain[-side:]}"


def _fresh(name: str, used: set[str]) -> str:
    """The name itself, or with a number behind it."""
    number, fresh = 1, name
    while fresh in used:
        number += 1
        fresh = f"{name[: LONGEST - len(str(number)) - 1]}_{number}"
    return fresh
