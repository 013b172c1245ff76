"""What the data-free rewrites cost in accuracy and win in time, network by network.

    python benchmarks/data_free.py [--assets FOLDER] [--passes "dac(energy=0.9)" ...]

Accuracy on the test splits of the assets (Fashion-MNIST for the example, CIFAR-10 for the rest);
time in onnxruntime on one thread at batch 1, the rewritten networks interleaved with the original,
medians, as ratios to the original measured in the same run. No training, no data used.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

import edgecc

ROOT = Path(__file__).resolve().parent.parent
PASSES = ["", *(f"{n}(energy={e})" for n in ("basis", "dac") for e in (0.98, 0.95, 0.9))]
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
ROUNDS = 60


@dataclass(frozen=True)
class Network:
    """A network and how its input is made from uint8 images (N, H, W, C)."""

    model: Path
    data: str
    prepare: Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print one table a network."""
    parser = argparse.ArgumentParser(description="Accuracy and time of the data-free rewrites.")
    default = os.environ.get("EDGECC_ASSETS", str(ROOT.parent / "shared" / "assets"))
    parser.add_argument("--assets", type=Path, default=Path(default))
    parser.add_argument("--passes", nargs="*", default=PASSES)
    options = parser.parse_args()
    if not (options.assets / "data").is_dir():
        sys.exit(f"no data at {options.assets}; give --assets or EDGECC_ASSETS")
    for network in networks(options.assets):
        images, labels = test_split(options.assets, network.data)
        inputs = network.prepare(images)
        print(f"\n{network.model.stem}, {len(labels)} test images\n")
        print("| passes | multiply-adds | parameters | accuracy | time |\n|---|---|---|---|---|")
        measure(network, inputs, labels, options.passes)


def measure(network: Network, inputs: np.ndarray, labels: np.ndarray, texts: list[str]) -> None:
    """Build every pipeline, measure all of them together, print a row for each."""
    with tempfile.TemporaryDirectory() as folder:
        reports, sessions = [], []
        for index, text in enumerate(["", *texts]):
            built = edgecc.build(network.model, passes=text, out=Path(folder) / str(index))
            reports.append(built.report)
            sessions.append(session(built.folder / "model.onnx"))
        times_ms = interleaved(sessions, inputs[:1])
        rows = zip(texts, reports[1:], sessions[1:], times_ms[1:], strict=True)
        for text, report, one, time_ms in rows:
            macs = report["macs"]["after"] / report["macs"]["before"]
            params = report["params"]["after"] / report["params"]["before"]
            found = accuracy(one, inputs, labels)
            ratio = time_ms / times_ms[0]
            name = f"`{text}`" if text else "none"
            print(f"| {name} | {macs:.2f} | {params:.2f} | {found:.2%} | {ratio:.2f} |", flush=True)


def networks(assets: Path) -> list[Network]:
    """Return the example and the CIFAR-10 networks, with their preprocessing."""
    cifar = assets / "models" / "cifar10"
    return [
        Network(ROOT / "examples/fashion_mnist/fashion_mnist.onnx", "fashion_mnist", unit),
        Network(
            cifar / "resnet20.onnx", "cifar10", lambda x: unit((x / 255 - MEAN) / DEVIATION, 1)
        ),
        Network(
            cifar / "resnet56.onnx", "cifar10", lambda x: unit((x / 255 - MEAN) / DEVIATION, 1)
        ),
        Network(cifar / "mlperf_resnet8_wide.onnx", "cifar10", lambda x: unit(x, 1)),
    ]


def unit(images: np.ndarray, scale: float = 255) -> np.ndarray:
    """(N, H, W, C) to float32 (N, C, H, W), divided by `scale`."""
    return np.ascontiguousarray((images / scale).transpose(0, 3, 1, 2), dtype=np.float32)


def test_split(assets: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return test images (N, H, W, C) and labels (N,)."""
    if name == "cifar10":
        with np.load(assets / "data/cifar10/lossless.npz") as arrays:
            return arrays["test_x"], arrays["test_y"]
    with np.load(assets / "data/fashion_mnist/fashion_mnist_test.npz") as arrays:
        return arrays["x"][..., None], arrays["y"]


def session(model: Path) -> ort.InferenceSession:
    """Open a model on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def accuracy(one: ort.InferenceSession, inputs: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose greatest output is their label."""
    name = one.get_inputs()[0].name
    batches = np.array_split(np.arange(len(labels)), max(1, len(labels) // 100))
    right = sum(
        int((one.run(None, {name: inputs[batch]})[0].argmax(axis=1) == labels[batch]).sum())
        for batch in batches
    )
    return right / len(labels)


def interleaved(sessions: list[ort.InferenceSession], x: np.ndarray) -> list[float]:
    """The median time of each session in milliseconds, measured in turns."""
    feed = {sessions[0].get_inputs()[0].name: x}
    times_ms = np.zeros((ROUNDS, len(sessions)))
    for turn in range(-3, ROUNDS):
        for index, one in enumerate(sessions):
            start = time.perf_counter()
            one.run(None, feed)
            times_ms[max(turn, 0), index] = (time.perf_counter() - start) * 1e3
    return list(np.median(times_ms, axis=0))


if __name__ == "__main__":
    main()
