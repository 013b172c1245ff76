"""Which layers would leave the DLA for the GPU, why, and into how many pieces that cuts a network.

An account beforehand, for TensorRT 8.5: what TensorRT fuses or moves itself its own log tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from targets.tensorrt.finding import Finding
from targets.tensorrt.operators import dla_rules
from targets.tensorrt.operators.site import Network, Scope, Site, read

KEEPS = (
    "infer_shapes, hard_activations, moves_to_conv, global_pool_to_pool, gemm_to_conv, count_pads,"
    " remove_unused, infer_shapes"
)
"""The passes that put what a DLA has in place of what it has not, where that is exact."""
LOADABLES = {1: 8, 2: 16}
"""The pieces of one network that a core can hold, by generation."""
MAX_BATCH = 4096
PRECISIONS = ("fp16", "int8", "best")


@dataclass(frozen=True)
class Partition:
    """A network shared between a DLA and the GPU."""

    findings: tuple[Finding, ...]
    """The layers that fall back to the GPU, and what is wrong with the whole; none is fatal but a
    precision that the DLA lacks."""
    on_dla: int
    """Layers that stay on the DLA."""
    on_gpu: int
    loadables: int
    """Pieces that run on the DLA without a break."""
    islands: int
    """Pieces on the GPU."""


def dla_findings(model_path: Path, precision: str, generation: int, batch: int) -> list[Finding]:
    """Return what of an ONNX file would fall back from a DLA to the GPU, and why.

    `generation` is 1 for Xavier, 2 for Orin; `batch` stands for an open first dimension.
    Errors: `edgecc.errors.BuildError` for a file that is no ONNX.
    """
    return list(partition(model_path, precision, generation, batch).findings)


def partition(model_path: Path, precision: str, generation: int, batch: int) -> Partition:
    """Share the layers of an ONNX file between a DLA and the GPU; see `dla_findings`."""
    network = read(model_path)
    layers = [site for site in network.sites if not _free(site)]
    whole = _whole(network, precision, batch)
    if whole is not None:
        return Partition((whole,), 0, len(layers), 0, 1)
    _fix_batch(network, batch)
    reasons = {id(site): dla_rules.reason(site, generation) for site in layers}
    findings = [
        Finding(site.label, site.kind, found[0], found[1], fatal=False)
        for site in layers
        if (found := reasons[id(site)]) is not None
    ]
    device = {key: found is not None for key, found in reasons.items()}
    islands, loadables = _pieces(network.sites, device)
    if loadables > LOADABLES[generation]:
        findings.append(
            Finding(
                "",
                "DLA",
                f"holds {LOADABLES[generation]} pieces of a network at most; this one is cut into "
                f"{loadables}",
                "keep the layers together: see the hints for those that fall back",
                fatal=False,
            )
        )
    on_gpu = sum(device.values())
    return Partition(tuple(findings), len(layers) - on_gpu, on_gpu, loadables, islands)


def _whole(network: Network, precision: str, batch: int) -> Finding | None:
    """What keeps every layer off the DLA."""
    if precision not in PRECISIONS:
        return Finding(
            "",
            "DLA",
            f"computes in FP16 and INT8 alone, not {precision}",
            "build with --precision fp16",
        )
    if batch > MAX_BATCH:
        reason = f"takes batches up to {MAX_BATCH} alone; this is {batch}"
        return Finding("", "DLA", reason, None, fatal=False)
    for value in network.model.graph.input:
        shape = network.scope.kind(value.name)[1]
        if shape is None or None in shape[1:]:
            return Finding(
                value.name,
                "input",
                "takes no open sizes; the whole network falls back to the GPU",
                f"fix the sizes with --shape {value.name}:...",
                fatal=False,
            )
    return None


def _fix_batch(network: Network, batch: int) -> None:
    """Put the batch where a shape's first dimension is open."""
    scopes: dict[int, Scope] = {id(site.scope): site.scope for site in network.sites}
    for scope in scopes.values():
        for name, (dtype, shape) in scope.kinds.items():
            if shape and shape[0] is None:
                scope.kinds[name] = dtype, (batch, *shape[1:])


def _free(site: Site) -> bool:
    """Whether a node is no layer: it is known before the engine runs, or hands its input on."""
    inputs = range(len(site.node.input))
    known = bool(site.node.input) and not any(site.computed(place) for place in inputs)
    return site.kind in dla_rules.FREE or known


def _pieces(sites: Sequence[Site], on_gpu: dict[int, bool]) -> tuple[int, int]:
    """The pieces on the GPU, and those on the DLA; `on_gpu` has the sites that are layers.

    A piece is layers of one device that hang together and need no layer of the other one between
    them: all lie at the same number of changes of device from the inputs.
    """
    parent: dict[int, int] = {}
    changes: dict[int, int] = {}
    makers: dict[str, Site] = {}
    for site in sites:
        key = id(site)
        before = [makers[name] for name in site.node.input if name in makers]
        if key not in on_gpu:
            makers.update((name, maker) for name in site.node.output for maker in before[:1])
            continue
        steps = (changes[id(b)] + (on_gpu[id(b)] != on_gpu[key]) for b in before)
        changes[key] = max(steps, default=0)
        parent[key] = key
        for maker in map(id, before):
            if (on_gpu[maker], changes[maker]) == (on_gpu[key], changes[key]):
                parent[_root(parent, maker)] = _root(parent, key)
        makers.update((name, site) for name in site.node.output)
    roots = {_root(parent, key) for key in parent}
    islands = sum(on_gpu[root] for root in roots)
    return islands, len(roots) - islands


def _root(parent: dict[int, int], key: int) -> int:
    while parent[key] != key:
        key = parent[key]
    return key
