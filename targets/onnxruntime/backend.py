"""Lowering for onnxruntime: the legalised model itself, and a runner for devices with Python."""

from __future__ import annotations

import contextlib
import functools
import shlex
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.errors import BuildError, UsageError
from edgecc.target import (
    Arrays,
    Artifact,
    Backend,
    Session,
    Target,
    Tell,
    TensorSpec,
    checked_inputs,
)

_RUNNER = "onnxruntime/run.py"
_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


class OnnxruntimeBackend(Backend):
    """Runs anywhere; the reference that every other backend is compared with."""

    name = "onnxruntime"
    summary = "the model itself, run by onnxruntime; needs Python and numpy on the device"
    dynamic = True

    def versions(self) -> dict[str, str]:
        """Return onnxruntime's version."""
        return {"onnxruntime": version("onnxruntime")}

    def newest_opset(self) -> int:
        """Return the newest opset that this onnxruntime reads, found by asking it."""
        return newest_opset()

    def build(
        self, model: Path, target: Target, folder: Path, tell: Tell = lambda text: None
    ) -> Artifact:
        """Check that onnxruntime takes the model, and put the runner beside it."""
        session = OnnxruntimeSession(model)
        runner = folder / _RUNNER
        runner.parent.mkdir()
        shutil.copyfile(Path(__file__).with_name("run.py"), runner)
        words = ["python3", _RUNNER, "model.onnx"]
        for spec in session.inputs:
            words += ["-i", f"{spec.name}=../{spec.name.replace('/', '_')}.npy"]
        return Artifact(
            backend=self.name,
            machine=None,
            files=(_RUNNER,),
            run=shlex.join([*words, "-o", ".."]),
        )

    def open(self, folder: Path, artifact: Artifact) -> Session:
        """Open the bundle's model."""
        return OnnxruntimeSession(folder / "model.onnx")


class OnnxruntimeSession(Session):
    """A model in onnxruntime on the CPU, with its default optimisations."""

    def __init__(self, model: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a type of its own for each status
            raise BuildError(f"onnxruntime does not take {model.name}: {error}") from None
        self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value) for value in self._session.get_outputs())

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run the network once."""
        feed = checked_inputs(self.inputs, inputs)
        try:
            results = self._session.run(None, feed)
        except Exception as error:  # as above
            raise UsageError(
                f"onnxruntime cannot run the network on these inputs: {error}"
            ) from None
        names = [spec.name for spec in self.outputs]
        return {name: np.asarray(value) for name, value in zip(names, results, strict=True)}


@functools.cache
def newest_opset() -> int:
    """Return the newest opset whose operators onnxruntime takes as released."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for opset in range(onnx.defs.onnx_opset_version(), 7, -1):
        head = f'<ir_version: 8, opset_import: ["" : {opset}]>'
        model = onnx.parser.parse_model(f"{head} g (float[1] x) => (float[1] y) {{ y = Relu(x) }}")
        with contextlib.suppress(Exception):  # a type of its own for each status
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return opset
    return 7


def _spec(value: Any) -> TensorSpec:
    return TensorSpec(value.name, _TYPES.get(value.type, value.type), tuple(value.shape))
