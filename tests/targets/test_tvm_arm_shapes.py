"""Convolutions of many shapes for aarch64, run in QEMU's emulation of a Cortex-A72."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from branches import CHANNELS, LIMIT, side_by_side
from test_tvm_arm import RPI4, emulated, pytestmark  # noqa: F401  (it marks these tests too)
from test_tvm_blocks import ACTIVATIONS, AXES, MOVED, POOLS, RESIDUALS, TABLES, WHOLE
from test_tvm_convolutions import ALONG, DEPTHWISE, FIRST, GROUPED, POINTWISE, TRANSPOSED
from test_tvm_convolutions import DENSE as CONVOLUTIONS
from tvm_networks import by_onnxruntime, error, given

from edgecc.errors import BuildError
from edgecc.target import Core
from targets.tvm import TvmBackend
from targets.tvm.device_runtime import LIBRARIES, copy_runtime

NETWORKS = {
    "convolutions": {**CONVOLUTIONS, **POINTWISE, **DEPTHWISE},
    "more": {**GROUPED, **ALONG, **TRANSPOSED, **FIRST},
    "between": {**ACTIVATIONS, **RESIDUALS, **MOVED, **POOLS, **WHOLE},
}
SMALL = Core(
    lanes=4, registers=32, l1_kb=0.5, l2_kb=4, fma_per_cycle=1, loads_per_cycle=1, fma_cycles=7
)
CORES = [pytest.param(RPI4.core, id="whole"), pytest.param(SMALL, id="in chunks")]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_branch_equals_onnxruntime(name: str, core: Core | None, tmp_path: Path) -> None:
    import onnx

    try:
        copy_runtime("aarch64", tmp_path)
    except BuildError as failure:
        pytest.skip(f"no runtime for aarch64: {failure.message}")
    for library in LIBRARIES:
        (tmp_path / library).unlink()
    branches = NETWORKS[name]
    model = side_by_side((1, CHANNELS, 13, 9), branches, {**TABLES, **AXES})
    onnx.save(model, tmp_path / "model.onnx")
    target = RPI4.model_copy(update={"core": core})
    artifact = TvmBackend().build(tmp_path / "model.onnx", target, tmp_path)
    np.save(tmp_path.parent / "x.npy", given(model)["x"])
    done = emulated(tmp_path, *artifact.run.split()[1:])
    assert (done.returncode, done.stderr) == (0, "")
    wanted = by_onnxruntime(model, given(model))
    found = [np.load(tmp_path.parent / f"y{index}.npy") for index in range(len(branches))]
    errors = {n: error(w, g) for n, w, g in zip(branches, wanted, found, strict=True)}
    assert {branch: worst for branch, worst in errors.items() if not worst < LIMIT} == {}
