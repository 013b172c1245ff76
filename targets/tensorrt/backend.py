"""Lowering for TensorRT, as far as it goes without the board: a model its parser can read.

Engines are not portable between GPUs or TensorRT versions, so the board builds its own.
"""

from __future__ import annotations

from pathlib import Path

from edgecc.errors import BuildError
from edgecc.target import Artifact, Backend, Session, Target, Tell


class TensorrtBackend(Backend):
    """Writes what TensorRT on the board reads; the engine itself is made there."""

    name = "tensorrt"
    summary = "the legalised model for TensorRT; its engine is built on the board"
    dynamic = False

    def versions(self) -> dict[str, str]:
        """Nothing of TensorRT runs on this machine."""
        return {}

    def build(
        self, model: Path, target: Target, folder: Path, tell: Tell = lambda text: None
    ) -> Artifact:
        """Say what is missing: the engine."""
        command = "/usr/src/tensorrt/bin/trtexec --onnx=model.onnx --fp16 --saveEngine=model.plan"
        return Artifact(
            backend=self.name,
            machine=target.machine,
            files=(),
            run="/usr/src/tensorrt/bin/trtexec --loadEngine=model.plan",
            missing=(
                f"the TensorRT engine: edgecc cannot build it yet; on the board, in the bundle's "
                f"folder, run: {command}"
            ),
        )

    def open(self, folder: Path, artifact: Artifact) -> Session:
        """Refuse: there is no engine. Errors: `edgecc.errors.BuildError`."""
        raise BuildError(
            "this bundle has no engine yet, so there is nothing to run",
            hint=f"its model.onnx runs in onnxruntime; what is missing: {artifact.missing}",
        )
