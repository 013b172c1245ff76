"""What the data-free rewrites cost in accuracy and win in time, network by network.

    python benchmarks/data_free.py [--assets FOLDER] [--passes "dac(energy=0.9)" ...]

Accuracy on the test splits of the assets (Fashion-MNIST for the example, CIFAR-10 for the rest);
time in onnxruntime on one thread at batch 1, the rewritten networks interleaved with the original,
medians, as ratios to the original measured in the same run. No training, no data used.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from networks import (
    Fold,
    Network,
    accuracy,
    add_assets_option,
    check_assets,
    networks,
    outputs,
    session,
)

import edgecc

PASSES = ["", *(f"{n}(energy={e})" for n in ("basis", "dac") for e in (0.98, 0.95, 0.9))]
NETWORKS = ("fashion_mnist", "resnet20", "resnet56", "mlperf_resnet8_wide")
ROUNDS = 60


def main() -> None:
    """Print one table a network."""
    parser = argparse.ArgumentParser(description="Accuracy and time of the data-free rewrites.")
    add_assets_option(parser)
    parser.add_argument("--passes", nargs="*", default=PASSES)
    options = parser.parse_args()
    check_assets(options.assets)
    for network in networks(options.assets):
        if network.name not in NETWORKS:
            continue
        (fold,) = network.folds()
        print(f"\n{network.name}, {sum(map(len, fold.inputs))} test images\n")
        print("| passes | multiply-adds | parameters | accuracy | time |\n|---|---|---|---|---|")
        measure(network, fold, options.passes)


def measure(network: Network, fold: Fold, texts: list[str]) -> None:
    """Build every pipeline, measure all of them together, print a row for each."""
    with tempfile.TemporaryDirectory() as folder:
        builds = [
            edgecc.build(network.model, passes=text, out=Path(folder) / str(index))
            for index, text in enumerate(["", *texts])
        ]
        models = [built.folder / "model.onnx" for built in builds]
        times_ms = interleaved([session(m, threads=1) for m in models], fold.inputs[0][:1])
        rows = zip(texts, builds[1:], models[1:], times_ms[1:], strict=True)
        for text, built, model, time_ms in rows:
            macs, params = (
                built.report[key]["after"] / built.report[key]["before"]
                for key in ("macs", "params")
            )
            found = accuracy(outputs(model, fold.inputs), fold.labels or [])
            ratio = time_ms / times_ms[0]
            name = f"`{text}`" if text else "none"
            print(f"| {name} | {macs:.2f} | {params:.2f} | {found:.2%} | {ratio:.2f} |", flush=True)


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
