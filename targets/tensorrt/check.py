"""What of a model a release of TensorRT cannot build, found on the host from its ONNX file.

The tables in `targets/tensorrt/operators` say what each release takes. What they do not tell
passes: the board's own parser has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import TensorProto

from targets.tensorrt.finding import Finding as Finding
from targets.tensorrt.finding import refuse as refuse
from targets.tensorrt.operators import shapes, support, types, windows
from targets.tensorrt.operators.site import Network, Site, read
from targets.tensorrt.versions import Release, first_with

RULES = (*windows.RULES, *shapes.RULES, *types.RULES)
OPSET_MIN = 9
"""The oldest opset that TensorRT 10 documents."""
INT32 = np.iinfo(np.int32)
BOUNDS = {"Slice", "Constant", "Clip"}
"""What takes INT64's ends for "all": narrowing them changes nothing."""


def check(model_path: Path, release: Release) -> list[Finding]:
    """Return what of the ONNX file `release` cannot take, the fatal ones and the others, in order.

    Errors: `edgecc.errors.BuildError` for a file that is no ONNX.
    """
    network = read(model_path)
    found = list(_opset(network, release))
    found += _types_of_ports(network, release)
    for site in network.sites:
        found += _findings(site, release)
    found += _wide_integers(network, release)
    return found


def quantised(model_path: Path) -> list[Finding]:
    """Return the nodes that make INT8 of floats: what a board without INT8 cannot take.

    Errors: `edgecc.errors.BuildError` for a file that is no ONNX.
    """
    hint = "give the network in float32, without Q/DQ pairs"
    return [
        Finding(site.label, site.kind, "has no INT8; this network is quantised", hint)
        for site in read(model_path).sites
        if site.kind == "QuantizeLinear"
    ]


def _opset(network: Network, release: Release) -> Iterator[Finding]:
    if network.opset > release.opset_max:
        yield Finding(
            "",
            "opset",
            f"reads opset {release.opset_max} at most; this model needs {network.opset}",
            f"export the model at opset {release.opset_max}",
        )
    if release.at_least(10, 0) and network.opset < OPSET_MIN:
        yield Finding(
            "",
            "opset",
            f"documents opset {OPSET_MIN} and newer; this model has {network.opset}",
            "if the board refuses it, export the model again",
            fatal=False,
        )


def _findings(site: Site, release: Release) -> Iterator[Finding]:
    if site.node.domain not in ("", "ai.onnx"):
        yield _foreign(site)
        return
    missing = _missing(site, release)
    if missing is not None:
        yield missing
        return
    if (wrong := _wrong_type(site, release)) is not None:
        yield wrong
    for rule in RULES:
        applies = site.kind in rule.operators.split() and rule.holds(release.number)
        if applies and (reason := rule.test(site)) is not None:
            yield Finding(site.label, site.kind, reason, rule.hint, rule.fatal)
    if any(mark in site.label for mark in "\"'\\"):
        yield Finding(
            site.label,
            site.kind,
            "writes names as they are into JSON, and this one has a quote or a backslash",
            "rename the node; edgecc's legalisation does",
            fatal=False,
        )


def _foreign(site: Site) -> Finding:
    kind = f"{site.node.domain}::{site.kind}"
    if site.kind.endswith("_TRT"):
        reason, fatal = f"needs its plugin library for {kind}", False
    else:
        reason, fatal = f"has no {kind}", True
    hint = "export the model with ONNX's own operators, or install the plugin on the board"
    return Finding(site.label, kind, reason, hint, fatal)


def _missing(site: Site, release: Release) -> Finding | None:
    kind = site.kind
    instead = support.INSTEAD.get(kind)
    if kind in support.NEVER:
        hint = instead or "no TensorRT has it: cut the network before it, or write it otherwise"
        return Finding(site.label, kind, f"has no {kind}", hint)
    since = support.SINCE.get(kind)
    if since is None:
        return Finding(
            site.label,
            kind,
            f"does not document {kind}",
            "the board's own parser decides",
            fatal=False,
        )
    if since <= release.number:
        return None
    newer = f"{first_with(since)} has it"
    return Finding(
        site.label, kind, f"has no {kind}", newer if instead is None else f"{newer}; {instead}"
    )


def _types_of_ports(network: Network, release: Release) -> Iterator[Finding]:
    """Inputs and outputs of the network of types that there are none of."""
    graph = network.model.graph
    for value in [*graph.input, *graph.output]:
        if not value.type.HasField("tensor_type"):
            yield Finding(
                value.name, "port", "takes tensors alone; this is a sequence, a map or an optional"
            )
            continue
        dtype = value.type.tensor_type.elem_type
        since = types.since(dtype)
        if dtype and (since is None or since > release.number):
            reason = f"has no tensors of {types.name(dtype)}; this input or output is of it"
            yield Finding(value.name, "port", reason, _other_type(dtype))


def _wrong_type(site: Site, release: Release) -> Finding | None:
    """A node that reads, holds or casts to a type that the release lacks."""
    if site.kind == "Cast":
        dtype = int(site.attribute("to", 0))
        since = types.since(dtype, types.CAST)
        if since is None or since > release.number:
            reason = f"casts to no {types.name(dtype)}"
            return Finding(site.label, site.kind, reason, _other_type(dtype))
    for place, name in enumerate(site.node.input):
        dtype = site.dtype(place)
        since = types.since(dtype) if dtype else (0, 0)
        # weights of UINT8 are widened in all releases; what quantisers take has rules of its own
        fine = dtype == TensorProto.UINT8 and site.scope.tensor(name) is not None
        if fine or site.kind in types.QUANTISERS or (since and since <= release.number):
            continue
        reason = f"has no tensors of {types.name(dtype)}; {site.kind} reads one"
        return Finding(site.label, site.kind, reason, _other_type(dtype))
    return None


def _other_type(dtype: int) -> str:
    if dtype == TensorProto.STRING:
        return "keep texts out of the network"
    if dtype == TensorProto.DOUBLE:
        return "export the model in float32"
    whole = "INT" in types.name(dtype)
    return f"use {'int32' if whole else 'float32'} in its place"


def _wide_integers(network: Network, release: Release) -> Iterator[Finding]:
    """Integers that do not fit the 32 bits that releases below 10.0 narrow them to."""
    if release.at_least(10, 0):
        return
    for site in network.sites:
        for place in range(len(site.node.input)):
            if site.dtype(place) != TensorProto.INT64 or site.kind in BOUNDS:
                continue
            numbers = site.constant(place)
            if numbers is not None and numbers.size and _beyond(int(numbers.min()), numbers.max()):
                yield Finding(
                    site.label,
                    site.kind,
                    "narrows INT64 to 32 bits, and this constant has larger numbers",
                    "they are clamped; check what the model does with them",
                    fatal=False,
                )


def _beyond(low: int, high: int) -> bool:
    return low < INT32.min or high > INT32.max
