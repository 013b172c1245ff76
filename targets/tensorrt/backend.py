"""Lowering for TensorRT, as far as it goes without the board: a model that its TensorRT can build.

Engines are not portable between GPUs or TensorRT releases, so the board builds its own, with the
`edgecc-device` that every bundle has; the host legalises, checks, quantises and packs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgecc.errors import BuildError, UsageError, did_you_mean
from edgecc.target import (
    Artifact,
    Backend,
    Engine,
    EngineWish,
    Precision,
    Quantisation,
    Session,
    Target,
    Tell,
)
from targets.tensorrt import check, dla, parser, recipe, versions
from targets.tensorrt.finding import Finding, refuse
from targets.tensorrt.versions import Release

BEST = "best"
"""INT8 where it costs little, FP16 elsewhere."""


@dataclass(frozen=True)
class TensorrtBackend(Backend):
    """Writes what TensorRT on the board reads; the engine itself is made there."""

    wish: EngineWish = field(default_factory=EngineWish)
    kept: tuple[str, ...] = ()
    """Nodes that stay in float where the rest is INT8."""
    name = "tensorrt"
    summary = "the legalised model for TensorRT; its engine is built on the board"
    dynamic = False

    def versions(self) -> dict[str, str]:
        """Nothing of TensorRT runs on this machine."""
        return {}

    def with_engine(self, target: Target, wish: EngineWish) -> Backend:
        """Return the backend with a wish that `target` can meet (see `Backend.with_engine`)."""
        return replace(self, wish=_settled(target, wish))

    def computes_in(self, target: Target) -> Precision:
        """Return the precision that layers are priced in."""
        wished = self._asked(target)[0].precision
        return next((known for known in target.precisions if known == wished), "int8")

    def legalisation(self, target: Target) -> str:
        """Return the passes that make a model readable by the board's release."""
        wish, release = self._asked(target)
        return recipe.legalisation(release, target.name, on_dla=wish.dla is not None)

    def quantisation(self, target: Target) -> Quantisation | None:
        """Return how INT8 is told to the engine: explicitly, or by a cache (DLA, TensorRT 7)."""
        wish, release = self._asked(target)
        if wish.precision not in ("int8", BEST):
            return None
        form: Literal["qdq", "cache", "both"] = "qdq" if release.at_least(10, 0) else "both"
        if wish.dla is not None or not release.at_least(8, 0):
            form = "cache"
        return Quantisation(form, wish.tensorrt or "", freely=wish.precision == BEST)

    def keeping(self, nodes: Sequence[str]) -> Backend:
        """Return the backend, to leave these nodes in float."""
        return replace(self, kept=tuple(nodes))

    def refuse(self, model: Path, target: Target) -> None:
        """Refuse what the tables of the board's release say it cannot build."""
        _, release = self._asked(target)
        refuse(check.check(model, release), f"{target.name} runs {release}")
        if "int8" not in _engine(target).precisions:
            refuse(check.quantised(model), f"{target.name} has a GPU")

    def build(
        self, model: Path, target: Target, folder: Path, tell: Tell = lambda text: None
    ) -> Artifact:
        """Check that the board's TensorRT can build the model, and say how it is to.

        Errors: `edgecc.errors.BuildError` with the node and the reason where it cannot.
        """
        wish, release = self._asked(target)
        read = recipe.engine_model(model, on_dla=wish.dla is not None)
        tell(f"what {release} takes")
        found = parser.consult(read, release)
        refuse(found, f"{target.name} runs {release}")
        fallen = _on_gpu(read, target, wish) if wish.dla is not None else []
        engine = recipe.engine(read, target, wish, self.kept)
        return Artifact(
            backend=self.name,
            machine=target.machine,
            files=(),
            run="./edgecc-device measure",
            missing=(
                "the engine: copy the bundle to the board, and in its folder run: "
                "./edgecc-device build"
            ),
            details={
                **asdict(wish),
                "precision": engine["precision"],
                "engine": engine,
                "engine_model": read.name,
                "warnings": [asdict(finding) for finding in found],
                "dla_fallback": [asdict(finding) for finding in fallen],
                "notes": _notes(release, found, fallen),
            },
        )

    def open(self, folder: Path, artifact: Artifact) -> Session:
        """Refuse: there is no engine. Errors: `edgecc.errors.BuildError`."""
        raise BuildError(
            "this bundle's engine is built and run on its board, not here",
            hint=f"its model.onnx runs in onnxruntime; what is missing: {artifact.missing}",
        )

    def _asked(self, target: Target) -> tuple[EngineWish, Release]:
        """The wish, with the board's own choices where nothing is wished, and the release."""
        wish = _settled(target, self.wish)
        return wish, versions.release(wish.tensorrt or "")


def _engine(target: Target) -> Engine:
    if target.engine is None:
        raise BuildError(
            f"the board file of {target.name} has no [engine]",
            hint="what it must tell is in edgecc.hardware.Engine",
        )
    return target.engine


def _settled(target: Target, wish: EngineWish) -> EngineWish:
    """A wish that the board can meet, complete. Errors: `edgecc.errors.UsageError`."""
    engine = _engine(target)
    precision = wish.precision or engine.precisions[0]
    known = [*engine.precisions, *([BEST] if "int8" in engine.precisions else [])]
    if precision not in known:
        raise UsageError(
            f"{target.name} has no {precision} in TensorRT", hint=did_you_mean(precision, known)
        )
    if wish.dla is not None and not 0 <= wish.dla < engine.dla_cores:
        cores = {0: "has no DLA", 1: "has one DLA core, 0"}.get(
            engine.dla_cores, f"has the DLA cores 0 to {engine.dla_cores - 1}"
        )
        raise UsageError(f"--dla {wish.dla}: {target.name} {cores}", hint="leave --dla away")
    if wish.dla is not None and precision == "fp32":
        raise UsageError("the DLA computes in FP16 and INT8", hint="--precision fp16")
    return EngineWish(precision, wish.dla, _version(engine, wish.tensorrt))


def _version(engine: Engine, asked: str | None) -> str:
    """The newest of the board's releases, or the one that the user names by its beginning."""
    if asked is None:
        return engine.versions[0]
    for version in engine.versions:
        if f"{version}.".startswith(f"{asked}."):
            return version
    raise UsageError(
        f"there is no TensorRT {asked} for this board",
        hint=f"there are {', '.join(engine.versions)}",
    )


def _on_gpu(model: Path, target: Target, wish: EngineWish) -> list[Finding]:
    """The layers that the DLA leaves to the GPU."""
    generation = 1 if _engine(target).compute_capability == "7.2" else 2
    precision = "int8" if wish.precision in ("int8", BEST) else "fp16"
    return dla.dla_findings(model, precision, generation, batch=1)


def _notes(release: Release, found: Sequence[Finding], fallen: Sequence[Finding]) -> list[str]:
    notes = [release.note] if release.note else []
    for finding in found:
        where = f" (node '{finding.node}')" if finding.node else ""
        notes.append(f"{release} {finding.reason}{where}: {finding.hint or 'a warning'}")
    return notes + _fallback_notes(fallen)


def _fallback_notes(fallen: Sequence[Finding]) -> list[str]:
    """One line for each reason; report.json has every layer."""
    notes = [f"the DLA: it {finding.reason}" for finding in fallen if not finding.node]
    nodes: dict[tuple[str, str], list[str]] = {}
    for finding in fallen:
        if finding.node:
            nodes.setdefault((finding.operator, finding.reason), []).append(finding.node)
    for (operator, reason), names in nodes.items():
        more = f" and {len(names) - 1} more {operator}" if len(names) > 1 else ""
        notes.append(f"the DLA leaves {names[0]} ({operator}){more} to the GPU: it {reason}")
    return notes
