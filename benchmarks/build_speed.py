"""How long a build takes and how much memory: a ResNet-50-size network, data-free, 224x224.

    python benchmarks/build_speed.py [--passes "basis(energy=0.9)"] [--scale 1 2] [--limit]

The network is made here, with random weights of decaying spectra (white ones would be refused).
Each build runs in a process of its own, whose peak memory the system reports. With several
scales (of the channels) the growth of memory with the weights is printed. `--limit` exits with 1
where a ResNet-50 takes more than 20 s or 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

LIMIT_S, LIMIT_MB = 20.0, 2000.0
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


def main() -> None:
    """Print a line for each pipeline and scale."""
    parser = argparse.ArgumentParser(description="Time and memory of a data-free build.")
    parser.add_argument("--passes", nargs="*", default=["basis(energy=0.9)", "dac(energy=0.9)"])
    parser.add_argument("--scale", type=float, nargs="*", default=[1.0])
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--limit", action="store_true")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for scale in options.scale:
            model = Path(folder) / f"resnet50_{scale}.onnx"
            onnx.save(resnet50(scale), model)
            for passes in options.passes:
                how = ["--passes", passes, "--backend", options.backend]
                run = timed_build(model, how)
                kept = run.report["macs"]["after"] / run.report["macs"]["before"]
                size_mb = model.stat().st_size / 1e6
                print(
                    f"scale {scale:g}: {size_mb:.0f} MB of weights, {passes}: {run.seconds:.1f} s, "
                    f"peak {run.peak_mb:.0f} MB, MACs kept {kept:.2f}, {run.report['timings_s']}",
                    flush=True,
                )
                failed |= scale == 1 and (run.seconds > LIMIT_S or run.peak_mb > LIMIT_MB)
    if options.limit and failed:
        sys.exit(f"over the limit of {LIMIT_S:g} s or {LIMIT_MB:g} MB")


@dataclass(frozen=True)
class Run:
    """What a build took, and its report."""

    seconds: float
    cpu_seconds: float
    """Of all cores together."""
    peak_mb: float
    report: dict[str, dict]


def timed_build(
    model: Path, how: Sequence[str], environment: Mapping[str, str] = os.environ
) -> Run:
    """Build in a process of its own."""
    command = [sys.executable, "-m", "edgecc", "build", str(model), "--json", *how]
    command += ["--out", str(model.with_suffix(""))]
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        told = child.stdout.read() if child.stdout else b""
        _, status, usage = os.wait4(child.pid, 0)  # what this child alone used
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"edgecc build ended with {child.returncode}")
    seconds, cpu_seconds = time.monotonic() - start, usage.ru_utime + usage.ru_stime
    return Run(seconds, cpu_seconds, usage.ru_maxrss / 1e3, json.loads(told))


def resnet50(scale: float = 1.0) -> onnx.ModelProto:
    """ResNet-50 v1.5 with BatchNorm and random weights, input "x" (1, 3, 224, 224)."""
    net = Network()
    x = net.block("x", 3, wide(64, scale), 7, stride=2)
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = wide(64, scale)
    for stage, (base, depth) in enumerate(STAGES):
        for index in range(depth):
            stride = 2 if stage and not index else 1
            inner, outer = wide(base, scale), wide(4 * base, scale)
            y = net.block(x, channels, inner, 1)
            y = net.block(y, inner, inner, 3, stride=stride)
            y = net.block(y, inner, outer, 1, relu=False)
            if not index:
                x = net.block(x, channels, outer, 1, stride=stride, relu=False)
            x = net.add("Relu", [net.add("Add", [x, y])])
            channels = outer
    x = net.add("Flatten", [net.add("GlobalAveragePool", [x])])
    net.add("Gemm", [x, net.weight((channels, 1000)), net.weight((1000,))], "y")
    return net.model("resnet50")


def wide(channels: int, scale: float) -> int:
    """Scale a number of channels, in steps of 8."""
    return max(8, round(channels * scale / 8) * 8)


class Network:
    """Nodes and weights, gathered one by one."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def block(
        self, x: str, inputs: int, outputs: int, kernel: int, *, stride: int = 1, relu: bool = True
    ) -> str:
        """Convolution, BatchNorm and perhaps ReLU."""
        weight = self.weight((outputs, inputs, kernel, kernel))
        pads, strides = [kernel // 2] * 4, [stride, stride]
        y = self.add("Conv", [x, weight], kernel_shape=[kernel] * 2, pads=pads, strides=strides)
        ones = np.ones(outputs, np.float32)
        norm = [self.constant(array) for array in (ones, 0 * ones, 0 * ones, ones)]
        y = self.add("BatchNormalization", [y, *norm])
        return self.add("Relu", [y]) if relu else y

    def weight(self, shape: tuple[int, ...], gain: float = 1.0) -> str:
        """A weight whose singular values decay, as those of trained networks do."""
        array = self.random.standard_normal(shape, dtype=np.float32)
        fan_in = int(np.prod(shape[1:]))
        if len(shape) == 4:
            array *= np.exp(-4 * np.arange(shape[1]) / shape[1], dtype=np.float32)[:, None, None]
        return self.constant(array * np.float32(gain / np.sqrt(fan_in)))

    def constant(self, array: np.ndarray) -> str:
        """Store an array; return its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        """Add a node; return its output's name."""
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def model(self, name: str) -> onnx.ModelProto:
        """The finished network."""
        kind = onnx.TensorProto.FLOAT
        x = helper.make_tensor_value_info("x", kind, [1, 3, 224, 224])
        y = helper.make_tensor_value_info("y", kind, [1, 1000])
        graph = helper.make_graph(self.nodes, name, [x], [y], self.weights)
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


if __name__ == "__main__":
    main()
