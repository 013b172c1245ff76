"""The networks whose speed is measured, as they are and rewritten at half the multiply-adds.

A rewritten network is made once a target and kept in a folder: delete that where the passes have
changed. Speed asks nothing of the numbers in it, so a few synthetic samples plan it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from build_speed import Network

import edgecc
from edgecc.errors import BudgetError

FAMILIES = ("dac", "basis", "depthwise", "hetconv", "spatial_svd")
MACS = 0.5
SAMPLES = 8
GAIN = 4.0
"""With weights of decaying spectra, what 2 is in He's initialisation: keeps the scale."""
PICTURE = 128
"""Height and width for the networks that take any, on a processor of one's own."""
SMALL_PICTURE = 32
"""The same where an instruction takes long."""


@dataclass(frozen=True)
class Timed:
    """A network, and the shapes of the inputs that it is timed with."""

    name: str
    model: Path
    shape: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Rewritten:
    """A network with fewer multiply-adds."""

    model: Path
    macs: float
    """What is left of the multiply-adds, 0..1."""


def timed_networks(assets: Path, work: Path, picture: int = PICTURE) -> list[Timed]:
    """The networks of the project's goals; ResNet-18 is written to `work`."""
    work.mkdir(parents=True, exist_ok=True)
    models, small = assets / "models", (1, 3, 32, 32)
    resnet = work / "resnet18.onnx"
    onnx.save(resnet18(), resnet)
    return [
        Timed("resnet20", models / "cifar10/resnet20.onnx", {"input": small}),
        Timed("resnet56", models / "cifar10/resnet56.onnx", {"input": small}),
        Timed("srmdnf_x2", models / "restore/srmdnf_x2.onnx", {"input": (1, 18, picture, picture)}),
        Timed("dncnn25", models / "restore/dncnn25.onnx", {"noisy": (1, 1, picture, picture)}),
        Timed("squeezenet1.1", models / "imagenet/squeezenet1.1_fp16.onnx", {}),
        Timed("resnet18", resnet, {}),
    ]


def rewritten(network: Timed, family: str, target: str, work: Path) -> Rewritten:
    """Rewrite a network by one family, as near to half the multiply-adds as that comes."""
    name = f"{network.name}-{family}-{target}"
    folder, model = work / name, work / f"{name}.onnx"
    if not (folder / "report.json").is_file():
        try:
            _rewrite(network, family, target, folder, MACS)
        except BudgetError as error:
            nearest = re.search(r"--macs ([0-9.]+)", error.hint or "")
            if nearest is None:
                raise
            _rewrite(network, family, target, folder, float(nearest[1]))
    onnx.save(_opened(onnx.load(folder / "model.onnx"), network.shape), model)
    macs = json.loads((folder / "report.json").read_text())["macs"]
    return Rewritten(model, macs["after"] / macs["before"])


def _rewrite(network: Timed, family: str, target: str, folder: Path, macs: float) -> None:
    """Plan and rewrite on small pictures, which takes a tenth of the time."""
    edgecc.build(
        network.model,
        target,
        backend="onnxruntime",
        macs=macs,
        families=family,
        samples=SAMPLES,
        shape={name: _small(shape) for name, shape in network.shape.items()},
        out=folder,
    )


def _small(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], *(min(size, SMALL_PICTURE) for size in shape[2:]))


def _opened(model: onnx.ModelProto, shape: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Let the model take pictures of any size again, where `shape` said which."""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output) if shape else ():
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if axis >= 2:
                dim.dim_param = f"{value.name}_{axis}"
    return model


def resnet18() -> onnx.ModelProto:
    """ResNet-18 with random weights and BatchNorm folded away, input "x" (1, 3, 224, 224)."""
    net = Network()

    def convolution(x: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        weight = net.weight((outputs, inputs, kernel, kernel), GAIN)
        bias = net.constant(net.random.standard_normal(outputs, np.float32) / 10)
        pads, strides = [kernel // 2] * 4, [stride] * 2
        shape = [kernel] * 2
        return net.add("Conv", [x, weight, bias], kernel_shape=shape, pads=pads, strides=strides)

    x = net.add("Relu", [convolution("x", 3, 64, 7, 2)])
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width in (64, 128, 256, 512):
        for stride in (1 if width == channels else 2, 1):
            y = net.add("Relu", [convolution(x, channels, width, 3, stride)])
            y = convolution(y, width, width, 3)
            if width != channels:
                x = convolution(x, channels, width, 1, stride)
            x, channels = net.add("Relu", [net.add("Add", [x, y])]), width
    x = net.add("Flatten", [net.add("GlobalAveragePool", [x])])
    net.add("Gemm", [x, net.weight((channels, 1000)), net.weight((1000,))], "y")
    return net.model("resnet18")
