"""Lowering for TensorRT for RTX: one engine for the GPUs of many PCs, built without any of them."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx

from edgecc.errors import BuildError, UsageError
from edgecc.target import (
    INT8_MODEL,
    Artifact,
    Backend,
    EngineWish,
    Precision,
    Quantisation,
    Session,
    Target,
    Tell,
)
from targets.tensorrt_rtx.engine import build_engine

FOLDER = "tensorrt_rtx"
ENGINE = f"{FOLDER}/model.engine"
RUNNER = f"{FOLDER}/run.py"


@dataclass(frozen=True)
class TensorrtRtxBackend(Backend):
    """Builds a whole engine ahead of time; a PC finishes its kernels when it first loads it.

    In the bundle: `tensorrt_rtx/model.engine` and `tensorrt_rtx/run.py`. The network is strongly
    typed: it computes in the types that the model has.
    """

    precision: Precision = "fp16"
    name = "tensorrt_rtx"
    summary = "an engine of TensorRT for RTX, built without a GPU; runs on RTX GPUs of PCs"
    dynamic = False

    def versions(self) -> dict[str, str]:
        """Return the version of TensorRT for RTX."""
        if importlib.util.find_spec("tensorrt_rtx") is None:
            raise BuildError(
                "TensorRT for RTX is not installed", hint="pip install 'edgecc[rtx]' brings it"
            )
        try:
            return {"tensorrt_rtx": version("tensorrt_rtx_cu13")}
        except PackageNotFoundError:  # built for another CUDA
            import tensorrt_rtx

            return {"tensorrt_rtx": str(tensorrt_rtx.__version__)}

    def with_engine(self, target: Target, wish: EngineWish) -> Backend:
        """Return the backend for a precision of the board; "best" is its default."""
        if wish.dla is not None:
            raise UsageError("a PC's GPU has no DLA", hint="leave --dla away")
        if wish.tensorrt is not None:
            raise UsageError(
                "TensorRT for RTX is built with the release that is installed",
                hint="leave --tensorrt away",
            )
        wanted = wish.precision or target.precisions[0]
        known = {name: name for name in target.precisions} | {"best": target.precisions[0]}
        if wanted not in known:
            raise UsageError(
                f"{target.name} does not compute in {wanted}", hint=f"it has {', '.join(known)}"
            )
        return replace(self, precision=known[wanted])

    def computes_in(self, target: Target) -> Precision:
        """Return the precision."""
        return self.precision

    def legalisation(self, target: Target) -> str:
        """Return what gives a model the types to compute in."""
        return "float_biases" + (", infer_shapes, to_float16" if self.precision == "fp16" else "")

    def quantisation(self, target: Target) -> Quantisation | None:
        """Return, for int8, that it is read from the graph."""
        if self.precision != "int8":
            return None
        return Quantisation("qdq", target.engine.versions[0] if target.engine else "")

    def build(
        self, model: Path, target: Target, folder: Path, tell: Tell = lambda text: None
    ) -> Artifact:
        """Write `folder/tensorrt_rtx/` (see `Backend.build`)."""
        versions = self.versions()
        if self.precision == "int8" and (quantised := model.with_name(INT8_MODEL)).exists():
            model = quantised
        names = _input_names(model, quantised=self.precision == "int8")
        if target.engine is None:
            raise BuildError(f"the board file of {target.name} has no [engine]")
        wanted = (target.engine.compute_capability, *target.engine.further_capabilities)
        built = build_engine(model, wanted, tell)
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / ENGINE).write_bytes(built.plan)
        shutil.copyfile(Path(__file__).with_name("run.py"), folder / RUNNER)
        words = ["python3", RUNNER, ENGINE]
        for name in names:
            words += ["-i", f"{name}=../{name.replace('/', '_')}.npy"]
        details = {
            "precision": self.precision,
            "compute_capabilities": list(built.capabilities),
            "engine_model": model.name,
            "versions": versions,
        }
        return Artifact(
            backend=self.name,
            machine=target.machine,
            files=(ENGINE, RUNNER),
            run=shlex.join([*words, "-o", ".."]),
            details={**details, **({"notes": list(built.notes)} if built.notes else {})},
        )

    def why_not_here(self, artifact: Artifact) -> str | None:
        """Say what this machine lacks to run it: the architecture, or the GPU."""
        from targets.tensorrt_rtx.run import Driver, NoGpuError

        if reason := super().why_not_here(artifact):
            return reason
        try:
            capability = "{}.{}".format(*Driver().capability)
        except NoGpuError as error:
            return f"it needs an NVIDIA GPU: {error}"
        known = artifact.details["compute_capabilities"]
        if capability in known:
            return None
        return f"it is for compute capability {', '.join(known)}, this GPU has {capability}"

    def open(self, folder: Path, artifact: Artifact) -> Session:
        """Open the engine on this machine's GPU."""
        from targets.tensorrt_rtx.session import RtxSession

        self.versions()
        return RtxSession(folder / ENGINE)


def _input_names(model: Path, *, quantised: bool) -> list[str]:
    """The inputs of a model, once it is sure that it is `quantised` where it has to be."""
    graph = onnx.load(model, load_external_data=False).graph
    if quantised and not any(node.op_type == "QuantizeLinear" for node in graph.node):
        raise BuildError(
            "TensorRT for RTX computes in int8 only what a model has quantised, and this one has "
            "no QuantizeLinear",
            hint="--precision fp16",
        )
    weights = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in weights]
