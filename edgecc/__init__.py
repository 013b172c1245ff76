"""edgecc takes a trained ONNX network to an edge device.

import edgecc

built = edgecc.build("model.onnx", target="host", passes="basis(energy=0.95)")
with edgecc.open(built.folder) as session:
    outputs = session.run({"input": array})
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecc.errors import EdgeccError

if TYPE_CHECKING:
    from edgecc.builder import Builder
    from edgecc.calibration.statistics import Block, Statistics
    from edgecc.conv import Conv, Refusal
    from edgecc.job import Build, build
    from edgecc.pipeline import Pipeline
    from edgecc.plan import Plan
    from edgecc.rewrite import ConvRewrite, Decision, Pass, Solved
    from edgecc.target import Backend, Session, Target, TensorSpec

__all__ = [
    "Backend",
    "Block",
    "Build",
    "Builder",
    "Conv",
    "ConvRewrite",
    "Decision",
    "EdgeccError",
    "Pass",
    "Pipeline",
    "Plan",
    "Refusal",
    "Session",
    "Solved",
    "Statistics",
    "Target",
    "TensorSpec",
    "build",
    "open",
]

_HOMES = {
    "Backend": "target",
    "Build": "job",
    "Block": "calibration.statistics",
    "Builder": "builder",
    "Conv": "conv",
    "ConvRewrite": "rewrite",
    "Decision": "rewrite",
    "Pass": "rewrite",
    "Pipeline": "pipeline",
    "Plan": "plan",
    "Refusal": "conv",
    "Session": "target",
    "Solved": "rewrite",
    "Statistics": "calibration.statistics",
    "Target": "target",
    "TensorSpec": "target",
    "build": "job",
}


def open(folder: str | os.PathLike[str]) -> Session:
    """Open a bundle that this machine can run, whatever its backend.

    `with edgecc.open(folder) as session: outputs = session.run({"input": array})`; a dictionary
    of arrays in, a dictionary of arrays out.
    Errors: `edgecc.errors.ModelError` for a damaged bundle, `edgecc.errors.BuildError` for one of
    another machine.
    """
    from edgecc import bundle, catalog

    _, artifact = bundle.read(Path(folder))
    return catalog.backend(artifact.backend).open(Path(folder), artifact)


def __getattr__(name: str) -> Any:
    """Import what is public when it is asked for: `import edgecc` itself stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgecc' has no attribute '{name}'")
    return getattr(import_module(f"edgecc.{_HOMES[name]}"), name)
