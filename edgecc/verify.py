"""The proofs of a build: what preparing, rewriting and lowering did to the outputs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecc import bundle, catalog, oracle
from edgecc.errors import BuildError, EdgeccError, ModelError
from edgecc.graph import NEWEST_IR
from edgecc.model import load, model_sha256
from edgecc.oracle import Difference
from edgecc.pipeline import Report
from edgecc.shapes import Shapes
from edgecc.target import Arrays, Artifact, Session

EXACT = 1e-3
"""The relative error up to which an exact step passes: float32 rounding through a deep network."""
NARROW_EXACT = 3e-2
"""The same where the original, or an engine made of it, computes in float16 or int8."""
LOWERED_EXACT = 1e-4
"""The same for the lowered network in float32: with Winograd's convolutions it is 1e-5 off
(`benchmarks/winograd_error.py`), while an epsilon that is read wrongly can be less than 1e-3."""


@dataclass
class Proofs:
    """The inputs used and the outputs of the original, to which all else is compared."""

    original: Path
    inputs: Arrays
    used: dict[str, Any]
    """Where the inputs came from."""
    reference: Arrays
    tolerance: float

    @classmethod
    def of(cls, path: Path, model: ir.Model, shapes: Shapes, own: Path | None = None) -> Proofs:
        """Run the original at `shapes`, on the user's `own` inputs (.npz) or on random ones.

        Errors: `edgecc.errors.ModelError`, `edgecc.errors.UsageError`.
        """
        if own is None:
            inputs = oracle.random_inputs(model, shapes.inputs)
            used: dict[str, Any] = {"kind": "random", "seed": oracle.SEED}
        else:
            inputs = oracle.read_inputs(own, model)
            used = {"kind": "file", "name": own.name}
        used["shapes"] = {name: list(array.shape) for name, array in inputs.items()}
        assumed = ", ".join(shapes.assumed.values())
        hint = f"{assumed} was assumed; give the sizes with --shape" if assumed else None
        reference = oracle.run(path, inputs, hint=hint)
        narrow = any(array.dtype == np.float16 for array in [*inputs.values(), *reference.values()])
        return cls(path, inputs, used, reference, NARROW_EXACT if narrow else EXACT)

    def run(self, model: Path) -> Arrays:
        """Return what another form of the model, written by edgecc, computes in onnxruntime.

        Errors: `edgecc.errors.BuildError` where onnxruntime does not take it.
        """
        try:
            return oracle.run(model, self.inputs)
        except ModelError as error:
            raise BuildError(
                f"what edgecc made of the model does not run: {error.message}",
                hint="this is a fault of edgecc: --debug-passes FOLDER names the pass",
            ) from None

    def check_rewritten(self, outputs: Arrays) -> dict[str, Difference]:
        """Return how far the rewritten model's `outputs` are from the original's.

        Errors: `edgecc.errors.BuildError` where they are no numbers any more.
        """
        for name, array in outputs.items():
            whole = self.reference[name]
            if array.dtype.kind != "f" or np.isfinite(array).all() or not np.isfinite(whole).all():
                continue
            raise BuildError(
                f"the rewritten network makes '{name}' infinite or NaN, the original does not",
                hint="give inputs of the range it was trained on with --inputs, or other passes",
            )
        return self.compare(outputs)

    def compare(self, outputs: Arrays) -> dict[str, Difference]:
        """Return how far `outputs` are from the original's."""
        return oracle.differences(self.reference, outputs)

    def check_prepared(self, prepared: Path, culprit: str | None) -> Difference:
        """Return how much preparing changed the numbers; `culprit` is the pass known to.

        Errors: `edgecc.errors.EdgeccError` where it changed more than rounding does.
        """
        found = self.compare(self.run(prepared))
        if self.is_wrong(found):
            raise EdgeccError(
                f"{culprit or 'preparing the model'} changed the outputs by {_in_words(found)}, "
                "which is a fault of edgecc",
                hint="please report it with the model"
                + ("" if culprit else "; --debug-passes FOLDER names the pass"),
            )
        return oracle.worst(found)

    def check_lowered(self, session: Session, expected: Arrays, artifact: Artifact) -> Difference:
        """Return how far the lowered network is from what onnxruntime computes for it.

        Errors: `edgecc.errors.BuildError` where it computes something else.
        """
        found = oracle.differences(expected, session.run(self.inputs))
        narrow = artifact.details.get("precision", "fp32") != "fp32" or self.tolerance != EXACT
        if self.is_wrong(found, NARROW_EXACT if narrow else LOWERED_EXACT):
            forms = artifact.details.get("winograd")
            exact = "--no-winograd is more exact, " if isinstance(forms, dict) and forms else ""
            raise BuildError(
                f"the lowered network differs from onnxruntime by {_in_words(found)}",
                hint=f"{exact}--backend onnxruntime runs it; please report the model",
            )
        return oracle.worst(found)

    def is_wrong(self, found: dict[str, Difference], tolerance: float | None = None) -> bool:
        """Return whether numbers differ by more than rounding explains.

        A network may be random, or amplify rounding (normalisation of small differences): then
        the original differs from itself as much when its inputs move by a millionth. Whole
        numbers (top-k, classes) are not judged: rounding may turn a tie.
        """
        floating = {n: d for n, d in found.items() if self.reference[n].dtype.kind == "f"}
        error = oracle.worst(floating).max_rel_error
        if error <= (self.tolerance if tolerance is None else tolerance):
            return False
        again = oracle.run(self.original, oracle.nudged(self.inputs))
        return error > 10 * oracle.worst(self.compare(again)).max_rel_error


def _in_words(found: dict[str, Difference]) -> str:
    worst = oracle.worst(found)
    return f"{worst.max_rel_error:.2g} (relative; {worst.max_abs_error:.2g} absolute)"


def runnable(path: Path, model: ir.Model, scratch: Path) -> Path:
    """Return a file of `model`, just read from `path`, that onnxruntime can run.

    That is `path`; a model that is newer than onnxruntime, or whose nodes share names, is mended,
    in place, and saved in `scratch`.
    Errors: `edgecc.errors.BuildError` for an operator that does not exist in the older opset.
    """
    newest = catalog.backend("onnxruntime").newest_opset() or 0
    names = [node.name for node in model.graph if node.name]
    is_new = model.ir_version > NEWEST_IR or model.opset_imports.get("", 0) > newest
    if not is_new and len(names) == len(set(names)):
        return path
    model.ir_version = min(model.ir_version, NEWEST_IR)
    older = f"name_everything, infer_shapes, lower_opset(opset={newest}, reader=onnxruntime)"
    catalog.pipeline(older).run(model)
    return bundle.save_model(model, scratch / path.name)


def verify_bundle(
    folder: Path, *, against: Path | None = None, own: Path | None = None
) -> dict[str, Any]:
    """Check a bundle: its files against the manifest, its lowered network against its model in
    onnxruntime, and its model against the original where that is given.

    Errors: `edgecc.errors.ModelError` for changed files or another original,
    `edgecc.errors.BuildError` where the lowered network computes something else.
    """
    manifest = bundle.check(folder)
    report, artifact = bundle.read(folder)
    model = folder / bundle.MODEL
    sizes = {name: tuple(s) for name, s in bundle.input_shapes(report).items()}
    proofs = Proofs.of(model, load(model), Shapes(sizes, {}), own)
    result: dict[str, Any] = {"files": len(manifest["files"]), "inputs": proofs.used}
    result["lowered"], result["against"] = None, None
    lowering = catalog.backend(artifact.backend)
    result["not_run"] = lowering.why_not_here(artifact)
    if result["not_run"] is None:
        with lowering.open(folder, artifact) as session:
            lowered = proofs.check_lowered(session, proofs.reference, artifact)
            result["lowered"] = lowered.to_json()
    if against is not None:
        if (given := model_sha256(against)) != manifest["model_sha256"]:
            raise ModelError(
                f"the bundle was not built from {against}: sha256 {given[:12]}, not "
                f"{manifest['model_sha256'][:12]}",
                hint=f"it was built from a file named {report['model']['name']}",
            )
        with tempfile.TemporaryDirectory() as scratch:
            file = runnable(against, load(against), Path(scratch))
            original = oracle.run(file, proofs.inputs)
        result["against"] = oracle.worst(oracle.differences(original, proofs.reference)).to_json()
    return result


class DebugPasses:
    """Writes the model after each pass and compares it with the original, to find a culprit."""

    def __init__(self, folder: Path, proofs: Proofs) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._proofs = proofs
        self.lines: list[str] = []
        self.culprit: str | None = None
        """The first pass that changed the numbers by more than rounding does."""

    def __call__(self, report: Report, model: ir.Model) -> None:
        """Observe one pass."""
        number = len(self.lines) + 1
        name = report.by.partition("(")[0]
        path = self._folder / f"{number:02d}_{name}.onnx"
        bundle.save_model(model, path)
        try:
            found = self._proofs.compare(self._proofs.run(path))
        except BuildError as failure:
            raise BuildError(f"after {report.by}: {failure.message}", hint=failure.hint) from None
        error = oracle.worst(found).max_rel_error
        self.lines.append(f"{number:02d} {report.by}: max relative error {error:.3g}")
        if self.culprit is None and self._proofs.is_wrong(found):
            self.culprit = report.by

    def to_json(self) -> dict[str, Any]:
        """Return what was seen."""
        return {"passes": self.lines, "first_that_changed_the_numbers": self.culprit}
