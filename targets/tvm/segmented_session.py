"""Runs a network in segments in this process: TVM's and onnxruntime's by turns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.errors import BuildError, UsageError
from edgecc.target import Arrays, Session, TensorSpec, checked_inputs
from targets.tvm.segments import LISTING
from targets.tvm.session import REBUILD, TvmSession
from targets.tvm.signature import Signature


class SegmentedSession(Session):
    """A network of which TVM runs some segments, and onnxruntime the others."""

    def __init__(self, folder: Path) -> None:
        try:
            content = json.loads((folder / LISTING).read_text("utf-8"))
            self.inputs, self.outputs = _specs(content["inputs"]), _specs(content["outputs"])
            parts = [
                (folder / part["path"], Signature(_specs(part["inputs"]), _specs(part["outputs"])))
                for part in content["segments"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BuildError(f"{folder / LISTING} is damaged: {error!r}", hint=REBUILD) from error
        self._parts: list[Session] | None = [
            TvmSession(path, ends) if path.suffix == ".so" else _OnnxruntimeSegment(path, ends)
            for path, ends in parts
        ]

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run the network once (see `Session.run`)."""
        values = checked_inputs(self.inputs, inputs)
        if self._parts is None:
            raise UsageError("this session is closed", hint="open the bundle again")
        for part in self._parts:
            values |= part.run({spec.name: values[spec.name] for spec in part.inputs})
        return {spec.name: values[spec.name] for spec in self.outputs}

    def close(self) -> None:
        """Release the network's memory."""
        parts, self._parts = self._parts or [], None
        for part in parts:
            part.close()


class _OnnxruntimeSegment(Session):
    """A segment that TVM cannot take; what it is given comes from the segments before it."""

    def __init__(self, path: Path, ends: Signature) -> None:
        import onnxruntime

        self.inputs, self.outputs = ends.inputs, ends.outputs
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a type of its own for each status
            raise BuildError(f"onnxruntime does not take {path}: {error}", hint=REBUILD) from None

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run the segment once."""
        names = [spec.name for spec in self.outputs]
        try:
            results = self._session.run(names, dict(inputs))
        except Exception as error:  # as above
            raise UsageError(
                f"onnxruntime cannot run the network on these inputs: {error}"
            ) from None
        return {name: np.asarray(value) for name, value in zip(names, results, strict=True)}


def _specs(listed: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in listed)
