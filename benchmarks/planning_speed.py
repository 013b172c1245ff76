"""How long calibrating, planning and rewriting take, and how much memory, at 224x224.

    python benchmarks/planning_speed.py [--networks resnet50 vgg16] [--images 64] [--limit]

The networks are made here, with random weights of decaying spectra; so are the images, dead leaves.
Half of the multiply-adds are kept, all families are tried. Each build runs in a process of its own,
whose peak memory the system reports, with no statistics kept from before. `--limit` exits with 1
above 4 minutes or 6 GB for ResNet-50, above 8 minutes or 6 GB for VGG-16.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from build_speed import Network, Run, resnet50, timed_build
from networks import DEVIATION, MEAN

from edgecc.calibration.synthetic import synthetic_images

GAIN = 4.0
"""Keeps the scale of activations through a ReLU and weights whose spectra decay."""


@dataclass(frozen=True)
class Limit:
    """A network and what a build of it may take."""

    make: Callable[[], onnx.ModelProto]
    seconds: float
    peak_mb: float


def main() -> None:
    """Print a table row a network."""
    parser = argparse.ArgumentParser(description="Time and memory of a calibrated, planned build.")
    parser.add_argument("--networks", nargs="*", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--macs", default="0.5")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--limit", action="store_true")
    options = parser.parse_args()
    missed = []
    print("| network | s | CPU s | peak MB | MACs kept | plan s | rewrite s | verify s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.networks:
        run, limit = measure(name, options.macs, options.images), LIMITS[name]
        macs, stages = run.report["macs"], run.report["timings_s"]
        cells = [f"{n:.0f}" for n in (run.seconds, run.cpu_seconds, run.peak_mb)]
        cells += [f"{macs['after'] / macs['before']:.3f}"]
        cells += [f"{stages[stage]:.1f}" for stage in ("plan", "rewrite", "verify")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        if run.seconds > limit.seconds or run.peak_mb > limit.peak_mb:
            missed.append(f"{name}: more than {limit.seconds:g} s or {limit.peak_mb:g} MB")
    if options.limit and missed:
        sys.exit("\n".join(missed))


def measure(name: str, macs: str, images: int) -> Run:
    """Build with a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        model, calib = Path(folder) / f"{name}.onnx", Path(folder) / "calib.npz"
        onnx.save(LIMITS[name].make(), model)
        pixels = synthetic_images(images, 3, 224, 224).transpose(0, 2, 3, 1) / 255
        inputs = ((pixels - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
        np.savez(calib, x=np.ascontiguousarray(inputs, np.float32))
        how = ["--macs", macs, "--calib", str(calib)]
        return timed_build(model, how, {**os.environ, "XDG_CACHE_HOME": folder})


def vgg16() -> onnx.ModelProto:
    """VGG-16 with random weights, fully connected layers too, input "x" (1, 3, 224, 224)."""
    net, x, channels = Network(), "x", 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            weight = net.weight((width, channels, 3, 3), GAIN)
            bias = net.constant(np.zeros(width, np.float32))
            x = net.add("Conv", [x, weight, bias], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            x, channels = net.add("Relu", [x]), width
        x = net.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Flatten", [x])
    for inputs, outputs in ((512 * 7 * 7, 4096), (4096, 4096)):
        weight, bias = net.weight((inputs, outputs)), net.constant(np.zeros(outputs, np.float32))
        x = net.add("Relu", [net.add("Gemm", [x, weight, bias])])
    net.add("Gemm", [x, net.weight((4096, 1000)), net.weight((1000,))], "y")
    return net.model("vgg16")


LIMITS = {"resnet50": Limit(resnet50, 240.0, 6000.0), "vgg16": Limit(vgg16, 480.0, 6000.0)}


if __name__ == "__main__":
    main()
