"""A bundle to measure, and records of it as a device would bring them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
from recorded import events, rounds
from residual import NETWORK

from edgecc import bundle, job
from edgecc.target import this_arch


def built(folder: Path, *, passes: str = "", backend: str = "onnxruntime") -> Path:
    """The network with a residual sum, built for this machine."""
    model = folder / "net.onnx"
    if not model.is_file():
        onnx.save(NETWORK, model)
    out = folder / f"net-{passes.partition('(')[0] or 'original'}-{backend}"
    made = job.build(
        model, "host", backend=backend, passes=passes, shape={"x": (1, 4, 10, 10)}, out=out
    )
    return made.folder


def record_of(path: Path, name: str, *, seed: int = 0, torn: bool = False, **state: Any) -> Path:
    """A record of the bundle whose folder is called `name`, measured alone."""
    told = events(rounds(seed, factors=(1.0,), runs=40), **state)
    told[0]["job"]["bundles"] = {"A": f"/home/nvidia/{name}"}
    told[1]["identity"] = {"machine": this_arch(), "hostname": "board", "cpus": []}
    layers = [{"name": "c_nchwc", "median_ms": 0.2}, {"name": "ReorderOutput", "median_ms": 0.1}]
    told.insert(-2, {"event": "profile", "bundle": "A", "layers": layers})
    told.insert(-2, {"event": "raw", "name": "../trtexec-A-0.log", "text": "&&&& PASSED\n"})
    lines = [json.dumps(event) for event in (told[: len(told) // 2] if torn else told)]
    path.write_text("\n".join(lines) + ("\n{" if torn else "\n"))
    return path


def described_for(folder: Path, **changes: Any) -> None:
    """Change what a bundle's device.json says, and its manifest with it."""
    path = folder / "device.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    bundle.write_manifest(folder, manifest["versions"], manifest["model_sha256"])
