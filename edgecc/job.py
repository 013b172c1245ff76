"""The main job: from a trained model to a bundle for a target. Reading this is reading edgecc."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from edgecc import bundle, catalog, distance
from edgecc.clock import Clock, Progress
from edgecc.cost import Ledger
from edgecc.device import description, pack
from edgecc.lowering import Lowering
from edgecc.oracle import Difference
from edgecc.pipeline import Report
from edgecc.plan import Plan
from edgecc.precision import Settled, settle_precision, with_samples
from edgecc.report import record
from edgecc.request import Asked, Request
from edgecc.rewriting import Rewriting
from edgecc.settle import settle
from edgecc.shapes import GivenShapes, Shape, read_shapes
from edgecc.source import Source
from edgecc.target import Arrays, Artifact, Backend, EngineWish, Target
from edgecc.verify import DebugPasses, Proofs

if TYPE_CHECKING:
    from typing_extensions import Unpack

STAGES = (
    "load",
    "reference",
    "prepare",
    "plan",
    "rewrite",
    "legalise",
    "precision",
    "verify",
    "lower",
    "bundle",
)
_MADE_WITH = ("edgecc", "numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Build:
    """A finished build: where the bundle lies, and its record (the content of report.json)."""

    folder: Path
    report: dict[str, Any]

    def __fspath__(self) -> str:
        return str(self.folder)


def build(
    model: str | Path,
    target: str = "host",
    *,
    backend: str | None = None,
    fallback: bool = False,
    winograd: bool = True,
    tune: int | str | Path | None = None,
    rpc: str | None = None,
    precision: str | None = None,
    dla: int | None = None,
    tensorrt: str | None = None,
    request: Request | None = None,
    shape: GivenShapes | None = None,
    out: str | Path | None = None,
    inputs: str | Path | None = None,
    debug_passes: str | Path | None = None,
    progress: Progress = lambda stage: None,
    **asked: Unpack[Asked],
) -> Build:
    """Rewrite and lower `model` for `target` and leave a bundle in `out`.

    `request`, or the keywords that make one (`edgecc.request.Asked`), says how the convolutions
    are rewritten: passes="dac(rank=4)", plan="plan.json", macs=0.5, calib="photos/". `shape` fixes
    inputs: {"x": (1, 3, 224, 224)}. `inputs` is an .npz to verify with instead of random numbers.
    `debug_passes` is a folder for the model after each pass. With `fallback` onnxruntime runs
    what the backend cannot take, on the device too. Without `winograd` every convolution is
    summed over its window. With `tune`, a number of trials, tiles are measured on the device, whose
    TVM RPC server is at `rpc` (host:port, or "local"); or `tune` is a file of what was measured.
    `precision` ("fp32", "fp16", "int8", "best"), `dla` (a core of the accelerator) and `tensorrt`
    (the release on the board, "8.2") are for an engine of TensorRT.
    Errors: `edgecc.errors.EdgeccError` and its kinds; a failed build leaves nothing behind.
    """
    path, board = Path(model), catalog.target(target)
    wish, clock = request or Request.of(**asked), Clock(progress)
    engine = EngineWish(precision, dla, tensorrt)
    options = Lowering(backend, fallback, winograd, tune, rpc, engine)
    lowering = options.settle(board, clock.detail)
    board, wish = board.at(lowering.computes_in(board)), with_samples(wish, lowering, board)
    versions = {**_versions(), **lowering.versions()}
    folder = Path(out) if out is not None else Path(f"{path.stem}-{board.name}")
    with bundle.staging(folder) as stage, tempfile.TemporaryDirectory() as scratch:
        site = Site(stage, Path(scratch), clock, board, lowering, wish)
        start = _prepare(site, path, read_shapes(shape), inputs, debug_passes)
        network = _rewrite(site, start)
        artifact, report = _lower(site, start, network)
        with clock.stage("bundle"):
            (stage / bundle.PLAN).write_text(_plan(start, network).to_json())
            report["timings_s"] = dict(clock.seconds)
            bundle.write_json(stage / bundle.REPORT, report)
            told = description.describe(stage, start.source.model, board, artifact)
            bundle.write_json(stage / description.NAME, told)
            pack.write(stage / pack.NAME)
            bundle.write_manifest(stage, versions, start.source.record["sha256"])
    return Build(folder, report)


@dataclass(frozen=True)
class Site:
    """Where a build takes place, and what it is for."""

    stage: Path
    """The folder that becomes the bundle."""
    scratch: Path
    clock: Clock
    board: Target
    lowering: Backend
    wish: Request


@dataclass(frozen=True)
class Start:
    """The prepared network, and the proofs that everything after it is held against."""

    source: Source
    proofs: Proofs
    debug: list[DebugPasses]
    passes: list[Report]
    difference: Difference
    """What preparing changed."""


@dataclass(frozen=True)
class Network:
    """The network as the bundle has it."""

    written: Path
    rewriting: Rewriting
    decided: list[Report]
    legalised: list[Report]
    ledger: Ledger
    narrow: Settled
    """Its precision."""


def _prepare(
    site: Site,
    path: Path,
    shapes: Mapping[str, Shape],
    inputs: str | Path | None,
    debug_passes: str | Path | None,
) -> Start:
    """Load the model, compute what it puts out, and clear it up."""
    clock = site.clock
    with clock.stage("load"):
        source = Source.read(path, shapes, site.scratch, dynamic=site.lowering.dynamic)
    with clock.stage("reference"):
        own = Path(inputs) if inputs else None
        proofs = Proofs.of(source.runnable, source.model, source.shapes, own)
        debug = [DebugPasses(Path(debug_passes), proofs)] if debug_passes else []
    with clock.stage("prepare"):
        prepared = catalog.prepare().run(source.model, debug)
        written = bundle.save_model(source.model, site.stage / bundle.MODEL)
        before = proofs.check_prepared(written, debug[0].culprit if debug else None)
        _refuse_early(source.model, site.board, site.lowering, site.scratch)
    return Start(source, proofs, debug, prepared, before)


def _rewrite(site: Site, start: Start) -> Network:
    """Plan, decompose, legalise, and settle the precision."""
    clock, board, lowering, graph = site.clock, site.board, site.lowering, start.source.model
    ledger = Ledger(graph, start.source.shapes.inputs, catalog.infer_shapes)
    with clock.stage("plan"):
        place = start.source.workplace(board, ledger, site.scratch, clock.detail, lowering.name)
        rewriting = settle(site.wish, place)
    with clock.stage("rewrite"):
        decided = rewriting.run(graph, [ledger, *start.debug], site.scratch, clock.detail)
        decided += catalog.tidy().run(graph, [ledger, *start.debug])
    with clock.stage("legalise"):
        legalised = catalog.pipeline(lowering.legalisation(board)).run(graph, start.debug)
        _sign(graph)
        written = bundle.save_model(graph, site.stage / bundle.MODEL)
    with clock.stage("precision"):
        narrow = settle_precision(
            lowering,
            board,
            graph,
            written,
            rewriting.samples.feeds if rewriting.samples else [start.proofs.inputs],
            site.scratch,
            evaluation=site.wish.evaluation,
            tell=clock.detail,
        )
    return Network(written, rewriting, decided, legalised, ledger, narrow)


def _lower(site: Site, start: Start, network: Network) -> tuple[Artifact, dict[str, Any]]:
    """Verify the network, lower it, and report the whole build."""
    proofs, samples, costs = start.proofs, network.rewriting.samples, network.ledger.costs
    with site.clock.stage("verify"):
        outputs = proofs.run(network.written)
        after = distance.measure(proofs, network.written, outputs, samples, costs[0].total.macs)
    with site.clock.stage("lower"):
        lowering = network.narrow.lowering
        artifact = lowering.build(network.written, site.board, site.stage, site.clock.detail)
        lowered = _check_lowered(lowering, artifact, site.stage, proofs, outputs)
    source, rewrites = start.source, str(network.rewriting.rewrites)
    return artifact, {
        **record.of_build(source.record, site.board.name, rewrites, source.shapes),
        **record.of_rewriting(network.rewriting),
        **record.of_costs(source.params, costs),
        "decisions": record.of_decisions(network.decided, costs),
        "passes": record.of_passes([*start.passes, *network.decided, *network.legalised]),
        "verify": record.of_verify(proofs, start.difference, after, lowered),
        "precision": network.narrow.record,
        "artifact": artifact.to_json(),
        **({"debug": start.debug[0].to_json()} if start.debug else {}),
    }


def _plan(start: Start, network: Network) -> Plan:
    """The plan that gives the same network again."""
    rewriting = network.rewriting
    return Plan.of(
        start.source.record["sha256"],
        network.decided,
        catalog.passes(),
        followed=rewriting.rewrites if isinstance(rewriting.rewrites, Plan) else None,
        calibration=rewriting.samples_used,
    )


def _refuse_early(graph: ir.Model, board: Target, lowering: Backend, scratch: Path) -> None:
    """Refuse what no engine of the board can build, before a plan is made for it."""
    if board.engine is None:
        return
    copy = graph.clone()
    catalog.pipeline(lowering.legalisation(board)).run(copy)
    lowering.refuse(bundle.save_model(copy, scratch / "legalised.onnx"), board)


def _check_lowered(
    lowering: Backend, artifact: Artifact, folder: Path, proofs: Proofs, expected: Arrays
) -> Difference | None:
    """How far the lowered network is from the model, where it can run on this machine."""
    if lowering.why_not_here(artifact):
        return None
    with lowering.open(folder, artifact) as session:
        return proofs.check_lowered(session, expected, artifact)


def _sign(graph: ir.Model) -> None:
    graph.producer_name, graph.producer_version = "edgecc", version("edgecc")


def _versions() -> dict[str, str]:
    """The versions of what rewrites and checks a model."""
    return {"python": platform.python_version(), **{name: version(name) for name in _MADE_WITH}}
