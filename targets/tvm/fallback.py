"""Which nodes TVM takes, found by giving it them; the rest of the network is onnxruntime's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgecc.target import Target
from targets.tvm.compile import Tuned, write_library
from targets.tvm.frontend import expand_functions, some, to_relax, unknown_operators
from targets.tvm.inference import types_of
from targets.tvm.partition import ONNXRUNTIME, TVM, Network, Segment, operator, partition
from targets.tvm.refusal import NotInTvmError
from targets.tvm.signature import compiled_spec

LIBRARY = "model.so"
INSTEAD = "--backend onnxruntime does the same without TVM"


@dataclass(frozen=True)
class Split:
    """A network in segments, and why TVM does not run all of it."""

    segments: list[Segment]
    refused: dict[str, str]
    """By node: why TVM cannot take it."""

    def to_json(self) -> dict[str, Any]:
        """Return what is in which segment as plain data."""
        return {
            "segments": [
                {
                    "runs_in": segment.runs_in,
                    "nodes": len(segment.nodes),
                    "convolutions": segment.convolutions,
                    "operators": segment.operators(),
                }
                for segment in self.segments
            ],
            "refused": self.refused,
        }

    def notes(self) -> list[str]:
        """Return what a user should know, in a sentence each."""
        chain = ", then ".join(
            f"{'TVM' if segment.runs_in == TVM else segment.runs_in} ({len(segment.nodes)})"
            for segment in self.segments
        )
        lines = [f"the network runs in {chain}; in brackets how many nodes"]
        for why in dict.fromkeys(self.refused.values()):
            nodes = [node for node, reason in self.refused.items() if reason == why]
            lines.append(f"not in TVM: {some(nodes)}: {why}")
        total = sum(segment.convolutions for segment in self.segments)
        compiled = sum(s.convolutions for s in self.segments if s.runs_in == TVM)
        if not any(segment.runs_in == TVM for segment in self.segments):
            lines.append(f"TVM runs nothing of this network: {INSTEAD}")
        elif total and not compiled:
            lines.append(f"TVM runs none of the {total} convolutions: {INSTEAD}")
        elif compiled < total:
            lines.append(f"TVM runs {compiled} of the {total} convolutions")
        return lines


def split(
    model: onnx.ModelProto, target: Target, folder: Path, tuned: Tuned | None = None
) -> Split:
    """Cut `model` into segments and write them into `folder`: `0/model.so`, `1.onnx`, ...

    Errors: `BuildError` where something fails that onnxruntime cannot help with.
    """
    model = _named(expand_functions(model))
    network = Network(model, types_of(model))
    refused = {
        node: f"TVM has no operator {kind}"
        for kind, nodes in unknown_operators(model).items()
        for node in nodes
    }
    while True:
        segments = partition(network, set(refused), _is_passable)
        found = _refused(segments, to_relax) or _write(segments, target, folder, tuned)
        if not found:
            return Split(segments, refused)
        refused |= found


Attempt = Callable[[onnx.ModelProto], Any]


def _refused(segments: list[Segment], attempt: Attempt) -> dict[str, str]:
    """Return the nodes at which the attempt fails with a segment of TVM's, and why."""
    found: dict[str, str] = {}
    for segment in segments:
        if segment.runs_in == TVM:
            try:
                attempt(segment.model)
            except NotInTvmError as error:
                found |= _blamed(segment, error, attempt)
    return found


def _write(
    segments: list[Segment], target: Target, folder: Path, tuned: Tuned | None
) -> dict[str, str]:
    """Write every segment; return the nodes that do not compile, of which nothing is left then."""
    for number, segment in enumerate(segments):
        if segment.runs_in == ONNXRUNTIME:
            onnx.save(segment.model, folder / f"{number}.onnx")
            continue
        place = folder / str(number)
        place.mkdir()
        attempt = _Compile(target, place / LIBRARY, folder.parent, tuned)
        if found := _refused([segment], attempt):
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            return found
    return {}


@dataclass(frozen=True)
class _Compile:
    target: Target
    library: Path
    scratch: Path
    tuned: Tuned | None

    def __call__(self, model: onnx.ModelProto) -> None:
        with tempfile.TemporaryDirectory(prefix="objects-", dir=self.scratch) as workspace:
            write_library(to_relax(model), self.target, self.library, Path(workspace), self.tuned)


def _blamed(segment: Segment, error: NotInTvmError, attempt: Attempt) -> dict[str, str]:
    """Return which of a segment's nodes are to blame for `error`: all, if it is none by itself."""
    names = {node.name for node in segment.nodes}
    if told := [name for name in error.nodes if name in names]:
        return dict.fromkeys(told, error.message)
    network = Network(segment.model, types_of(segment.model))
    found = _culprits(network, list(range(len(network.nodes))), attempt)
    return found or dict.fromkeys(sorted(names), error.message)


def _culprits(network: Network, indices: list[int], attempt: Attempt) -> dict[str, str]:
    """Return the single nodes with which the attempt fails, found by halving."""
    borders = network.crossing(indices)
    if all(_is_passable(network.value(name)) for name, _ in borders):
        try:
            attempt(network.part(indices))
        except NotInTvmError as error:
            if len(indices) == 1:
                return {network.nodes[indices[0]].name: error.message}
        else:
            return {}
    if len(indices) == 1:
        return {}
    half = len(indices) // 2
    parts = (indices[:half], indices[half:])
    return {k: v for part in parts for k, v in _culprits(network, part, attempt).items()}


def _is_passable(value: onnx.ValueInfoProto) -> bool:
    try:
        compiled_spec(value)
    except NotInTvmError:
        return False
    return True


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with a name of its own for every node."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    taken: set[str] = set()
    for node in result.graph.node:
        if not node.name or node.name in taken:
            node.name = f"{operator(node)} of {next(filter(None, node.output), '')}"
        taken.add(node.name)
    return result
