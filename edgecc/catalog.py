"""What there is: every pass, backend and board. The one file that imports `passes` and `targets`.

Third parties add theirs through the entry points `edgecc.passes` (a `Pass` class) and
`edgecc.targets` (a `Backend` class, or a folder of board files as a `pathlib.Path`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import ValidationError

from edgecc.errors import EdgeccError, UsageError, did_you_mean
from edgecc.hardware import Jetpack
from edgecc.pipeline import Pipeline
from edgecc.planning.prices import Prices, prices_of
from edgecc.rewrite import ConvRewrite, Pass
from edgecc.target import Artifact, Backend, Session, Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PASSES = (
    "passes.prepare.inline_functions:InlineFunctions",
    "passes.prepare.lift_constants:LiftConstants",
    "passes.prepare.infer_shapes:InferShapes",
    "passes.prepare.fold_constants:FoldConstants",
    "passes.prepare.remove_identities:RemoveIdentities",
    "passes.prepare.widen_float16:WidenFloat16",
    "passes.prepare.resolve_auto_pad:ResolveAutoPad",
    "passes.prepare.fold_pad:FoldPad",
    "passes.prepare.fold_batchnorm:FoldBatchnorm",
    "passes.prepare.fold_affine:FoldAffine",
    "passes.prepare.remove_unused:RemoveUnused",
    "passes.prepare.name_everything:NameEverything",
    "passes.decompose.basis:Basis",
    "passes.decompose.dac:Dac",
    "passes.decompose.depthwise:Depthwise",
    "passes.decompose.pointwise_depthwise:PointwiseDepthwise",
    "passes.decompose.spatial_svd:SpatialSvd",
    "passes.decompose.spatial_depthwise:SpatialDepthwise",
    "passes.decompose.tucker2:Tucker2",
    "passes.decompose.hetconv:Hetconv",
    "passes.decompose.msgc:Msgc",
    "passes.decompose.channel_prune:ChannelPrune",
    "passes.decompose.fold_gather:FoldGather",
    "passes.legalise.expand_operators:ExpandOperators",
    "passes.legalise.global_pool_to_pool:GlobalPoolToPool",
    "passes.legalise.gemm_to_conv:GemmToConv",
    "passes.legalise.count_pads:CountPads",
    "passes.legalise.hard_activations:HardActivations",
    "passes.legalise.moves_to_conv:MovesToConv",
    "passes.legalise.float_biases:FloatBiases",
    "passes.legalise.pads_to_concat:PadsToConcat",
    "passes.legalise.lower_opset:LowerOpset",
    "passes.legalise.to_float16:ToFloat16",
    "passes.legalise.narrow_int64:NarrowInt64",
    "passes.legalise.sanitise_names:SanitiseNames",
)
BACKENDS = (
    "targets.onnxruntime:OnnxruntimeBackend",
    "targets.tvm:TvmBackend",
    "targets.tensorrt:TensorrtBackend",
    "targets.tensorrt_rtx:TensorrtRtxBackend",
)


@functools.cache
def passes() -> dict[str, type[Pass]]:
    """Return every pass by its name, in the order in which the product uses them."""
    found = {}
    for kind in _load(PASSES, "edgecc.passes"):
        found[kind.name] = kind
    return found


@functools.cache
def backends() -> dict[str, Backend]:
    """Return every backend by its name."""
    made = [kind() for kind in _load(BACKENDS, "edgecc.targets") if not isinstance(kind, Path)]
    return {backend.name: backend for backend in made}


@functools.cache
def targets() -> dict[str, Target]:
    """Return every board by its name."""
    folders = [_ours("targets") / "boards"]
    folders += [found for found in _plugins("edgecc.targets") if isinstance(found, Path)]
    found = {}
    for file in sorted(file for folder in folders for file in folder.glob("*.toml")):
        try:
            target = Target(**tomllib.loads(file.read_text()))
        except (ValidationError, tomllib.TOMLDecodeError) as error:
            raise EdgeccError(f"the board file {file} is damaged: {error}") from None
        found[target.name] = target
    return {name: _with_its_board(target, found) for name, target in found.items()}


def _with_its_board(target: Target, known: Mapping[str, Target]) -> Target:
    """The target with the facts that it shares with the other processor of its board."""
    if target.board is None:
        return target
    if target.board not in known:
        raise EdgeccError(
            f"the board file of {target.name} is damaged: its board is '{target.board}'",
            hint=did_you_mean(target.board, known),
        )
    board = known[target.board]
    return target.model_copy(update={"jetson": board.jetson, "power": board.power})


@functools.cache
def jetpacks() -> tuple[Jetpack, ...]:
    """Return every JetPack that is known, the newest first (`targets/jetpacks.toml`)."""
    listed = tomllib.loads((_ours("targets") / "jetpacks.toml").read_text())["jetpack"]
    return tuple(Jetpack(**entry) for entry in listed)


def jetpack_of(l4t: str) -> Jetpack | None:
    """Return the JetPack of a release of L4T (35.6.5), None for one unlike any that is known."""
    matching = [
        (len(prefix), jetpack)
        for jetpack in jetpacks()
        for prefix in jetpack.l4t
        if f"{l4t}.".startswith(f"{prefix}.")
    ]
    return max(matching, key=lambda each: each[0])[1] if matching else None


def tuned(
    backend: Backend,
    board: Target,
    tune: int | str | Path | None,
    rpc: str | None,
    tell: Callable[[str], None],
) -> Backend:
    """Return `backend`, to tune for `board` where `tune` is given (see `Backend.with_tuning`)."""
    if tune is not None:
        return backend.with_tuning(board, str(tune), rpc, tell)
    if rpc is not None:
        raise UsageError("--rpc is where to tune", hint="give --tune as well, as --tune 200")
    return backend


def pipeline(text: str) -> Pipeline:
    """Read the text form of a pipeline. Errors: `edgecc.errors.UsageError`."""
    return Pipeline.parse(text, passes())


def prepare() -> Pipeline:
    """Return the passes that every model goes through first."""
    _ours("passes")
    return pipeline(import_module("passes.prepare").PREPARE)


def families(text: str | None = None) -> list[ConvRewrite]:
    """Return the rewrites that a plan may choose: those named in `text`, or all.

    `dac` is left out unless it is named: `depthwise` is never worse at the same cost.
    Errors: `edgecc.errors.UsageError`.
    """
    if text is None:
        kinds = [kind for kind in passes().values() if issubclass(kind, ConvRewrite)]
        return [kind() for kind in kinds if kind.name != "dac"]
    found = []
    for step in pipeline(text).passes:
        if not isinstance(step, ConvRewrite):
            raise UsageError(f"{step.name} rewrites no convolutions", hint="see 'edgecc passes'")
        found.append(step)
    if not found:
        raise UsageError("no families are left to choose from", hint='as "basis, spatial_svd"')
    return found


def tidy() -> Pipeline:
    """Return the passes that clear up behind decompositions."""
    return pipeline(import_module("passes.decompose").TIDY)


def prices(board: Target, table: Path | None = None) -> Prices:
    """Return what operators cost on `board`: as measured in `table`, or as modelled.

    Errors: `edgecc.errors.UsageError` for a table that is not one.
    """
    return prices_of(board, table)


def open_model(folder: Path) -> Session:
    """Open `model.onnx` in `folder` with the reference backend."""
    artifact = Artifact("onnxruntime", None, (), "")
    return backend("onnxruntime").open(folder, artifact)


def infer_shapes(model: ir.Model) -> None:
    """Fill in the types and shapes of `model`, those too that it computes from others.

    Errors: `edgecc.errors.ModelError`.
    """
    pipeline("infer_shapes, fold_constants, infer_shapes").run(model)


def target(name: str) -> Target:
    """Return the board called `name`. Errors: `edgecc.errors.UsageError`."""
    if name not in targets():
        raise UsageError(f"there is no target named '{name}'", hint=did_you_mean(name, targets()))
    return targets()[name]


def backend(name: str, board: Target | None = None) -> Backend:
    """Return the backend called `name`, if it can serve `board`.

    Errors: `edgecc.errors.UsageError`.
    """
    known = board.backends if board else tuple(backends())
    if name not in known or name not in backends():
        of = f" for {board.name}" if board else ""
        raise UsageError(f"there is no backend '{name}'{of}", hint=did_you_mean(name, known))
    return backends()[name]


def _load(ours: tuple[str, ...], group: str) -> Iterator[Any]:
    for path in ours:
        module, _, name = path.partition(":")
        _ours(module.partition(".")[0])
        yield getattr(import_module(module), name)
    yield from _plugins(group)


def _plugins(group: str) -> Iterator[Any]:
    yield from map(_loaded, entry_points(group=group))


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ImportError as error:
        raise EdgeccError(
            f"the plugin '{point.name}' ({point.value}) cannot be imported: {error}",
            hint=f"reinstall or remove the package {point.dist.name if point.dist else ''}",
        ) from error


def _ours(package: str) -> Path:
    """The folder of `passes` or `targets`, once it is sure that it is edgecc's own."""
    here = Path(__file__).resolve().parent.parent
    module = import_module(package)
    found = Path(module.__file__ or "").resolve().parent
    if found.parent != here:
        raise EdgeccError(
            f"another package named '{package}' stands before edgecc's: {found}",
            hint="start edgecc from another folder, or in a virtual environment of its own",
        )
    return found
