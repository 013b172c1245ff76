"""TensorRT's own ONNX parser as a second opinion, from TensorRT for RTX on the host.

It is newer than the parser of any Jetson, so the two are weighed (`weigh`): for the board's release
the table of `targets.tensorrt.check` decides. What the parser refuses is fatal only where the table
has no word on the operator, or where no TensorRT could read the file at all; else it is told as
a warning, for an operator may well have gone, or its types narrowed, since the board's release.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from targets.tensorrt.check import check
from targets.tensorrt.finding import Finding
from targets.tensorrt.operators import support
from targets.tensorrt.versions import Release

PACKAGE = "tensorrt_rtx"
BROKEN = "file"
"""The operator of findings that are about the file as a whole."""
UNREADABLE = ("MODEL_DESERIALIZE_FAILED", "INVALID_GRAPH")
"""Codes of files that no TensorRT could read."""
NO_GPU = "CUDA driver version is insufficient"
"""What it says on a machine without a GPU."""


def installed() -> bool:
    """Whether TensorRT for RTX is here to be asked."""
    return importlib.util.find_spec(PACKAGE) is not None


def parse(model_path: Path) -> list[Finding]:
    """Return what TensorRT for RTX cannot parse of an ONNX file; nothing where it parses all.

    Needs no GPU. Raises ImportError where TensorRT for RTX is not `installed`.
    """
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    try:
        parsed = parser.parse_from_file(str(model_path))
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        if any(NO_GPU in error.desc() for error in errors):
            return []  # it stopped at something that it computes on a GPU, and has no opinion
        nodes = _nodes(model_path) if errors else []
        found = list(dict.fromkeys(_finding(error, nodes) for error in errors))
    finally:
        del parser, network, builder  # in this order: each holds on to the next
    if not parsed and not found:
        return [Finding("", BROKEN, "cannot parse the model and does not say why")]
    return found


def consult(model_path: Path, release: Release) -> list[Finding]:
    """Return what the tables of `release` find, and the parser's opinion where it is `installed`.

    Errors: `edgecc.errors.BuildError` for a file that is no ONNX.
    """
    table = check(model_path, release)
    return weigh(table, parse(model_path), release) if installed() else table


def weigh(table: Sequence[Finding], parsed: Sequence[Finding], release: Release) -> list[Finding]:
    """Return the parser's findings with what they are worth for `release`, after the `table`'s.

    A node that the table has a finding for is explained, and the parser's is left out.
    """
    explained = {finding.node for finding in table if finding.node}
    kept = [f for f in parsed if f.node not in explained]
    return [*table, *(f if release.rtx else _weighed(f) for f in kept)]


def _weighed(finding: Finding) -> Finding:
    documented = finding.operator in support.SINCE
    if finding.operator == BROKEN or not documented:
        return finding
    return replace(
        finding,
        fatal=False,
        hint="the board's release documents it and most likely builds it; the parser here is newer",
    )


def _finding(error: Any, nodes: Sequence[onnx.NodeProto]) -> Finding:
    """One error of the parser, with the node that it is at."""
    place, code = error.node(), error.code().name
    if code in UNREADABLE or not 0 <= place < len(nodes):
        return Finding("", BROKEN, f"cannot parse the model: {_words(error.desc())}")
    node = nodes[place]
    # an error in a subgraph has that graph's numbers; its own name and operator tell
    name = error.node_name() or (node.name if node.op_type == error.node_operator() else "")
    label = name or (node.output[0] if node.output else "")
    operator = error.node_operator() or node.op_type
    description = _words(error.desc())
    missing = description == "false" or description.startswith("Plugin not found")
    reason = f"has no {operator}" if missing else f"cannot parse it: {description}"
    return Finding(label, operator, reason)


def _words(description: str) -> str:
    """The sentence in an assertion: 'ok && "Not supported."' is "Not supported."."""
    quoted = re.findall(r'"([^"]{8,})"', description)
    text = quoted[-1] if quoted else description.rpartition(": ")[2]
    return " ".join(text.split()).rstrip(".")


def _nodes(model_path: Path) -> list[onnx.NodeProto]:
    try:
        return list(onnx.load(model_path, load_external_data=False).graph.node)
    except DecodeError:
        return []  # the parser has said so already
