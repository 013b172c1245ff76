"""How much of a core each shape of convolution uses: GFLOP/s against the core's peak.

    python benchmarks/conv_flops.py [--threads 1] [--only depthwise ...] [--quick] [--seconds 2]
        [--json FILE] [--limit]

edgecc's library beside onnxruntime, in turns in this process. The peak is what `fma_peak.c` reaches
in the same process, measured before and after each shape, so that a processor that changes its
clock changes both. Layers that keep the shape stand four in a row: changes of layout at the ends
weigh little then. A multiply-add is two operations; Winograd, which saves some, can pass the peak.
`--only` takes words of a row's name. `--limit` exits with 1 where numbers are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from engines import (
    difference,
    interleaved,
    of_edgecc,
    of_onnxruntime,
    random_inputs,
    with_tvm_threads,
)
from fma_peak import Peak
from ratios import Ratio, ratio, table_head, table_row
from single_layers import Layer, network
from speed_goals import WRONG

import edgecc

IN_A_ROW = 4
HEADS = ("layer", "edgecc GFLOP/s", "of peak", "onnxruntime GFLOP/s", "of peak",
         "time, edgecc / onnxruntime", "error")  # fmt: skip


def layers() -> dict[str, list[Layer]]:
    """Every kind of convolution that trained or rewritten networks have."""
    sizes = ((64, 56), (128, 28), (256, 14), (512, 7))
    one = (1, 1)
    return {
        "dense 3x3": [Layer(n, n, s) for n, s in ((16, 32), (32, 16), *sizes)],
        "dense 3x3 stride 2": [Layer(n, 2 * n, s, stride=2) for n, s in sizes[:3]],
        "dense 5x5": [Layer(64, 64, 28, (5, 5))],
        "1x1": [Layer(n, n, s, one) for n, s in sizes],
        "1x1 wide": [Layer(64, 256, 56, one), Layer(1024, 256, 14, one)],
        "1x1 stride 2": [Layer(64, 128, 56, one, stride=2)],
        "depthwise 3x3": [Layer(n, n, s, groups=n) for n, s in sizes],
        "depthwise 3x3 stride 2": [Layer(128, 128, 56, stride=2, groups=128)],
        "depthwise 5x5": [Layer(n, n, s, (5, 5), groups=n) for n, s in sizes[1:3]],
        "depthwise 3x3 multiplied": [Layer(n, 4 * n, s, groups=n) for n, s in sizes],
        "reduced by output": [Layer(4 * n, n, s, groups=n) for n, s in sizes],
        "grouped 3x3": [Layer(128, 128, 28, groups=128 // w) for w in (2, 4, 8, 16, 32)],
        "3x1": [Layer(n, n, s, (3, 1)) for n, s in sizes],
        "1x3": [Layer(n, n, s, (1, 3)) for n, s in sizes],
        "first 7x7": [Layer(3, 64, 224, (7, 7), stride=2)],
        "first 3x3": [Layer(3, 16, 32), Layer(3, 32, 224, stride=2), Layer(1, 64, 128)],
        "last 3x3": [Layer(64, 1, 128), Layer(128, 12, 64)],
        "transposed": [
            Layer(128, 64, 28, (2, 2), stride=2, transposed=True),
            Layer(64, 32, 56, (4, 4), stride=2, transposed=True),
        ],
    }


@dataclass(frozen=True)
class Row:
    """A layer in both engines."""

    layer: str
    peak_gflops: float
    ours_gflops: float
    theirs_gflops: float
    ratio: Ratio
    """Of the times."""
    error: float

    def __str__(self) -> str:
        cells = [self.layer]
        for gflops in (self.ours_gflops, self.theirs_gflops):
            cells += [f"{gflops:.1f}", f"{gflops / self.peak_gflops:.0%}"]
        return table_row([*cells, self.ratio, f"{self.error:.0e}"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What convolutions reach of a core's peak.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[""], help="words of a name, as depthwise")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each layer")
    parser.add_argument("--quick", action="store_true", help="a third of a second for each layer")
    parser.add_argument("--json", type=Path, help="the rows, as numbers")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where one is wrong")
    options = parser.parse_args()
    with_tvm_threads(options.threads)
    peak, seconds = Peak(), 0.3 if options.quick else options.seconds
    told = f"{peak.gflops():.0f} GFLOP/s a core, vectors of {peak.lanes}"
    print(f"peak {told}; {options.threads} threads\n\n{table_head(HEADS)}")
    rows = []
    for name, some in layers().items():
        for layer in some:
            if any(word in f"{name}: {layer}" for word in options.only):
                rows.append(measured(name, layer, peak, seconds, options.threads))
                print(rows[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    slower = [f"- {row.layer}: {row.ratio}" for row in rows if row.ratio.low > 1]
    if slower:
        print(f"\nSlower than in onnxruntime, {len(slower)} of {len(rows)}:\n" + "\n".join(slower))
    wrong = [f"- {row.layer}: {row.error:.1e}" for row in rows if not row.error <= WRONG]
    if wrong:
        print("\nWrong:\n" + "\n".join(wrong))
    if options.limit and wrong:
        sys.exit(1)


def measured(name: str, layer: Layer, peak: Peak, seconds: float, threads: int) -> Row:
    """Build a layer, or several of it in a row, and measure them in both engines."""
    count = IN_A_ROW if layer.keeps_shape else 1
    with tempfile.TemporaryDirectory() as scratch:
        model, out = Path(scratch) / "layer.onnx", Path(scratch) / "bundle"
        onnx.save(network(*[layer] * count), model)
        edgecc.build(model, "host", backend="tvm", passes="", out=out)
        inputs = random_inputs(out / "model.onnx")
        theirs = of_onnxruntime(out / "model.onnx", inputs, threads)
        ours = of_edgecc(out, inputs)
        before = peak.gflops()
        times = interleaved([ours, theirs], seconds, threads)
        reached = max(before, peak.gflops()) * threads
        error = difference(ours.outputs(), theirs.outputs())
    flops = 2 * layer.macs * count
    ours_gflops, theirs_gflops = flops / np.median(times, axis=1) / 1e6
    label = f"{name}: {layer}" + (f", {count} in a row" if count > 1 else "")
    between = ratio(times[0], times[1])
    return Row(label, reached, float(ours_gflops), float(theirs_gflops), between, error)


if __name__ == "__main__":
    main()
