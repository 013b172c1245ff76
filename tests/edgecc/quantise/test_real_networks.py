"""Real networks in int8: pairs where TensorRT wants them, an engine of it, little memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import edgecc
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.calibration.samples import Samples
from edgecc.quantise import QuantWish, Written, quantise_model
from edgecc.quantise.placement import placement_problems

MODELS = (
    "cifar10/resnet20",
    "cifar10/mlperf_resnet8_wide",
    "cifar10/cmsisnn_m7_5x5",
    "imagenet/squeezenet1.1_fp16",
    "misc/mlperf_vww96",
    "mnist/mnist_cntk",
    "restore/dncnn25",
    "restore/super-resolution-10",
    "detect/version-RFB-320_simplified",
)


def quantised(model: Path, folder: Path, samples: int = 4, **options: object) -> Written:
    built = edgecc.build(model, out=folder / "bundle", **options)
    graph = ir.load(built.folder / "model.onnx")
    feeds = Samples.read("synthetic", graph, Preprocessing(), samples).feeds
    with tempfile.TemporaryDirectory() as scratch:
        return quantise_model(
            graph, folder / "model.onnx", feeds, QuantWish(form="both"), Path(scratch)
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_pairs_stand_where_tensorrt_wants_them(assets: Path, tmp_path: Path, name: str) -> None:
    shape = {"shape": ["1,1,48,48"]} if "dncnn" in name else {}
    written = quantised(assets / "models" / f"{name}.onnx", tmp_path, **shape)
    assert written.qdq is not None
    model = ir.load(written.qdq)
    assert placement_problems(model) == []
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    assert written.record["layers"] >= len(convolutions)
    assert written.record["in_float"] == {}
    assert all(np.isfinite(list(written.record["accuracy"]["int8"]["rms_error"].values())))


@pytest.mark.slow
@pytest.mark.parametrize("form", [{}, {"passes": "depthwise(energy=0.95)"}])
def test_tensorrt_makes_an_engine_of_it(assets: Path, tmp_path: Path, form: dict[str, str]) -> None:
    """TensorRT for RTX compiles ahead of time, without a GPU."""
    trt = pytest.importorskip("tensorrt_rtx")
    written = quantised(assets / "models/cifar10/resnet20.onnx", tmp_path, **form)
    assert written.qdq is not None
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(written.qdq.read_bytes())
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    shape = (1, 3, 32, 32)
    profile.set_shape(network.get_input(0).name, shape, shape, shape)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    assert plan.nbytes > written.qdq.stat().st_size // 8


MEASURED = """
import resource, sys
from edgecc import oracle
from pathlib import Path
import numpy as np, onnx_ir as ir
from edgecc.quantise.ranges import ranges
model = Path(sys.argv[1])
(spec,) = oracle.specs(ir.load(model))
images = np.random.default_rng(0).integers(-128, 128, (256, 3, 224, 224), np.int8)
class Feeds:
    def __iter__(self):
        return ({spec.name: images[i : i + 1].astype(spec.dtype)} for i in range(256))
assert len(ranges(model, Feeds(), "entropy")) > 60, "activations"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(assets: Path, tmp_path: Path) -> None:
    """256 photographs of 224x224 through SqueezeNet: 5 GB of activations."""
    edgecc.build(assets / "models/imagenet/squeezenet1.1_fp16.onnx", out=tmp_path / "b")
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "b/model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2e9
