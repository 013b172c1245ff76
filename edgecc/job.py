"""The main job: from a trained model to a bundle for a target. Reading this is reading edgecc."""

from __future__ import annotations

import contextlib
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from edgecc import bundle, catalog, distance
from edgecc.conv import is_convolution
from edgecc.cost import Ledger, count
from edgecc.device import description, pack
from edgecc.device.description import describe
from edgecc.lowering import Lowering
from edgecc.oracle import Difference
from edgecc.plan import Plan
from edgecc.precision import settle_precision, with_samples
from edgecc.report import record
from edgecc.request import Asked, Request
from edgecc.settle import settle
from edgecc.shapes import GivenShapes, read_shapes
from edgecc.source import Source
from edgecc.target import Arrays, Artifact, Backend, EngineWish, Target
from edgecc.verify import DebugPasses, Proofs

if TYPE_CHECKING:
    from typing_extensions import Unpack

Progress = Callable[[str], None]
"""Called with the name of each stage as it begins, and with "stage: what it is at"."""
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


@dataclass
class Clock:
    """Seconds by stage."""

    tell: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    now: str = ""

    def detail(self, text: str) -> None:
        """Tell what the stage is at."""
        self.tell(f"{self.now}: {text}")

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and tell that it begins."""
        self.now = name
        self.tell(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 4)


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
        with clock.stage("load"):
            source = Source.read(path, read_shapes(shape), Path(scratch), dynamic=lowering.dynamic)
        with clock.stage("reference"):
            own = Path(inputs) if inputs else None
            proofs = Proofs.of(source.runnable, source.model, source.shapes, own)
            debug = [DebugPasses(Path(debug_passes), proofs)] if debug_passes else []
        with clock.stage("prepare"):
            prepared = catalog.prepare().run(source.model, debug)
            written = bundle.save_model(source.model, stage / bundle.MODEL)
            before = proofs.check_prepared(written, debug[0].culprit if debug else None)
            _refuse_early(source.model, board, lowering, Path(scratch))
        ledger = Ledger(source.model, source.shapes.inputs, catalog.infer_shapes)
        with clock.stage("plan"):
            place = source.workplace(board, ledger, Path(scratch), clock.detail, lowering.name)
            rewriting = settle(wish, place)
        with clock.stage("rewrite"):
            decided = rewriting.run(source.model, [ledger, *debug], Path(scratch), clock.detail)
            decided += catalog.tidy().run(source.model, [ledger, *debug])
        with clock.stage("legalise"):
            legalised = catalog.pipeline(lowering.legalisation(board)).run(source.model, debug)
            _sign(source.model)
            written = bundle.save_model(source.model, stage / bundle.MODEL)
        with clock.stage("precision"):
            narrow = settle_precision(
                lowering,
                board,
                source.model,
                written,
                rewriting.samples.feeds if rewriting.samples else [proofs.inputs],
                Path(scratch),
                evaluation=wish.evaluation,
                tell=clock.detail,
            )
        with clock.stage("verify"):
            outputs = proofs.run(written)
            macs = ledger.costs[0].total.macs
            after = distance.measure(proofs, written, outputs, rewriting.samples, macs)
        with clock.stage("lower"):
            artifact = narrow.lowering.build(written, board, stage, clock.detail)
            lowered = _check_lowered(narrow.lowering, artifact, stage, proofs, outputs)
        report = {
            **record.of_build(source.record, board.name, str(rewriting.rewrites), source.shapes),
            **record.of_rewriting(rewriting),
            **record.of_costs(source.params, ledger.costs),
            "decisions": record.of_decisions(decided, ledger.costs),
            "passes": record.of_passes([*prepared, *decided, *legalised]),
            "verify": record.of_verify(proofs, before, after, lowered),
            "precision": narrow.record,
            "artifact": artifact.to_json(),
            **({"debug": debug[0].to_json()} if debug else {}),
        }
        with clock.stage("bundle"):
            made = Plan.of(
                source.record["sha256"],
                decided,
                catalog.passes(),
                followed=rewriting.rewrites if isinstance(rewriting.rewrites, Plan) else None,
                calibration=rewriting.samples_used,
            )
            (stage / bundle.PLAN).write_text(made.to_json())
            report["timings_s"] = dict(clock.seconds)
            bundle.write_json(stage / bundle.REPORT, report)
            told = describe(stage, source.model, board, artifact)
            bundle.write_json(stage / description.NAME, told)
            pack.write(stage / pack.NAME)
            bundle.write_manifest(stage, versions, source.record["sha256"])
    return Build(folder, report)


def explain(
    model: str | Path,
    target: str = "host",
    *,
    request: Request | None = None,
    shape: GivenShapes | None = None,
    progress: Progress = lambda stage: None,
    **asked: Unpack[Asked],
) -> dict[str, Any]:
    """Return what `build` would do to each convolution and why, without lowering or writing.

    The keys are those of report.json; what only a whole build knows is absent.
    """
    board = catalog.target(target)
    wish, clock = request or Request.of(**asked), Clock(progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = Source.read(Path(model), read_shapes(shape), Path(scratch), dynamic=True)
        prepared = catalog.prepare().run(source.model)
        ledger = Ledger(source.model, source.shapes.inputs, catalog.infer_shapes)
        with clock.stage("plan"):
            place = source.workplace(board, ledger, Path(scratch), clock.detail)
            rewriting = settle(wish, place)
        with clock.stage("rewrite"):
            decided = rewriting.run(source.model, [ledger], Path(scratch), clock.detail)
            decided += catalog.tidy().run(source.model, [ledger])
    return {
        **record.of_build(source.record, board.name, str(rewriting.rewrites), source.shapes),
        **record.of_rewriting(rewriting),
        **record.of_costs(source.params, ledger.costs),
        "decisions": record.of_decisions(decided, ledger.costs),
        "passes": record.of_passes([*prepared, *decided]),
    }


def inspect(model: str | Path, *, shape: GivenShapes | None = None) -> dict[str, Any]:
    """Return what a model is made of: inputs, operators, and each convolution with its cost."""
    source = Source.read_only(Path(model), read_shapes(shape))
    catalog.prepare().run(source.model)
    costs = count(source.model, source.shapes.inputs, catalog.infer_shapes)
    return {
        **record.of_build(source.record, "", "", source.shapes),
        "macs": costs.total.macs,
        "params": source.params,
        "uncounted": costs.uncounted,
        "operators": dict(Counter(node.op_type for node in source.model.graph).most_common()),
        "convolutions": [
            record.of_convolution(node, costs.by_node[node.name or ""])
            for node in source.model.graph
            if is_convolution(node)
        ],
    }


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
