"""A model as it came in, validated and measured, with the shapes that every figure is for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecc import catalog, shapes
from edgecc.calibration.batchnorm import channel_means
from edgecc.cost import Ledger, parameters
from edgecc.model import load, model_sha256
from edgecc.report import record
from edgecc.rewrite import MEANS
from edgecc.settle import Workplace
from edgecc.shapes import Shape, Shapes
from edgecc.target import Target, Tell
from edgecc.verify import runnable


@dataclass(frozen=True)
class Source:
    """A model as it came in, and the shapes that its figures are for."""

    runnable: Path
    """The file that onnxruntime computes the reference from."""
    model: ir.Model
    shapes: Shapes
    record: dict[str, Any]
    params: int

    @classmethod
    def read(
        cls, path: Path, given: Mapping[str, Shape], scratch: Path, *, dynamic: bool
    ) -> Source:
        """Load, validate and measure the model at `path`; `scratch` is a folder for a copy."""
        graph = load(path)
        described = record.of_model(graph, path.name, model_sha256(path), path.stat().st_size)
        params = parameters(graph)
        original = runnable(path, graph, scratch)
        graph.graph.meta[MEANS] = channel_means(graph)
        shapes.check_sizes(graph)
        settled = shapes.settle(graph, given, dynamic=dynamic)
        probe = graph.clone()
        catalog.infer_shapes(probe)
        shapes.check_sizes(probe)
        return cls(original, graph, settled, described, params)

    @classmethod
    def read_only(cls, path: Path, given: Mapping[str, Shape]) -> Source:
        """Load, validate and measure the model at `path`, to look at it alone."""
        with tempfile.TemporaryDirectory() as scratch:
            return cls.read(path, given, Path(scratch), dynamic=True)

    def workplace(
        self, board: Target, ledger: Ledger, scratch: Path, tell: Tell, backend: str | None = None
    ) -> Workplace:
        """Return what settling a rewrite needs to know of the prepared model."""
        whole = ledger.costs[0].total
        sha256, inputs = self.record["sha256"], self.shapes.inputs
        macs = {name: cost.macs for name, cost in ledger.costs[0].by_node.items()}
        return Workplace(self.model, sha256, inputs, whole, board, scratch, tell, macs, backend)
