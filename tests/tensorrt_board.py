"""A board with the stand-in trtexec of any release, and a small bundle for it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from jetson.standin import install
from onnx import TensorProto, helper, numpy_helper

from targets.tensorrt.device import engine

VERSIONS = ("7.1.3", "8.0.1", "8.2.1", "8.4.2", "8.5.2", "8.6.1", "10.3.0")
LESS_OFTEN = ("8.0.1", "8.4.2", "8.6.1")
RELEASES = [
    pytest.param(version, marks=[pytest.mark.slow] if version in LESS_OFTEN else [])
    for version in VERSIONS
]
"""For tests that run trtexec: the first of each generation's words, and the others slowly."""
Event = dict[str, Any]


def network(operator: str = "Relu", batch: int | str = 1) -> onnx.ModelProto:
    """Two convolutions with an activation between them, at opset 11."""
    random = np.random.default_rng(0)
    weights = {
        "w1": random.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "w2": random.standard_normal((8, 8, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["a"], ["b"], name="act1"),
        helper.make_node("Conv", ["b", "w2"], ["y"], name="conv2", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 8, 16, 16])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


class Board:
    """A Jetson as the agent sees it: `identity`, a cache, the stand-in in its place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {**os.environ, "XDG_CACHE_HOME": str(root / "cache")}
        self.place = root / "cache/edgecc/engines"
        self.identity: dict[str, Any] = {
            "machine": "aarch64",
            "soc": "tegra194",
            "model": "Jetson-AGX",
            "module": "p2888-0004",
            "memory_mb": 30990,
        }

    def put(self, version: str, board: str = "xavier", **fail: Any) -> Board:
        program = install(self.root, version, board, fail)
        self.identity.update(tensorrt=version, trtexec=str(program))
        return self

    @property
    def trtexec(self) -> str:
        return str(self.identity["trtexec"])

    def build(
        self, folder: Path, tell: Callable[[Event], None] | None = None, **options: Any
    ) -> tuple[dict[str, Any], list[Event]]:
        """Return the record and the events."""
        events: list[Event] = []
        tell = tell or events.append
        return engine.build(str(folder), self.identity, tell, self.environ, **options), events

    def files(self) -> dict[str, bytes]:
        """What lies in the cache, but for logs and the lock."""
        return {
            str(path.relative_to(self.place)): path.read_bytes()
            for path in sorted(self.place.rglob("*"))
            if path.is_file() and path.parent.name != "logs" and path.name != "lock"
        }


def write_bundle(folder: Path, model: onnx.ModelProto | None = None, **engine: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = model or network()
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    shape = [
        dim.dim_value if dim.HasField("dim_value") else None
        for dim in model.graph.input[0].type.tensor_type.shape.dim
    ]
    description = {
        "schema_version": 1,
        "backend": "tensorrt",
        "target": "xavier",
        "machine": "aarch64",
        "model": "model.onnx",
        "model_sha256": hashlib.sha256(data).hexdigest(),
        "inputs": [{"name": "x", "dtype": "float32", "shape": shape}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 8, 16, 16]}],
        "board": {
            "soc": "tegra194",
            "models": ["Jetson-AGX", "AGX Xavier"],
            "modules": ["p2888-0001", "p2888-0004"],
            "title": "Jetson AGX Xavier",
        },
        "engine": {
            "tensorrt": list(VERSIONS),
            "precision": "fp16",
            "dla": None,
            "shapes": {"x": [1, 3, 16, 16]},
            "profile": None,
            "calibration": None,
            "layers_fp32": [],
            "opset": 11,
            "nodes": 3,
            **engine,
        },
    }
    (folder / "device.json").write_text(json.dumps(description))
    return folder


def old_python() -> str:
    """Python 3.6 where there is one, else this one."""
    for name in ("python3.6", str(Path.home() / ".pyenv/versions/3.6.15/bin/python")):
        path = shutil.which(name)
        if path and subprocess.run([path, "-V"], capture_output=True).returncode == 0:
            return path
    return sys.executable
