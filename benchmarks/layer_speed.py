"""What a rewritten layer takes of the time of the dense 3x3 that it replaces, at half its MACs.

    python benchmarks/layer_speed.py [--threads 1] [--only dac ...] [--quick] [--seconds 3]
        [--json FILE] [--limit]

One convolution and its ReLU at four sizes, and what each family makes of it: edgecc's library
beside onnxruntime on the same graphs, all in turns in this process. "of dense" is the time over
that of the dense layer in the same engine. The forms are those of METHODS E.8; hetconv halves
nothing (0.61 with 2 parts, 0.36 with 4), so the goal is asked of its 4 parts. `--limit` exits with
1 where a layer with at most half the multiply-adds takes more than 0.65 of the dense one, or
numbers are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from engines import (
    Engine,
    difference,
    interleaved,
    of_edgecc,
    of_onnxruntime,
    random_inputs,
    with_tvm_threads,
)
from ratios import Ratio, ratio, table_head, table_row
from single_layers import Layer, network
from speed_goals import WRONG

import edgecc

LAYERS = tuple(Layer(n, n, size) for n, size in ((64, 56), (128, 28), (256, 14), (512, 7)))
LIMIT = 0.65
HALF = 0.52
"""Ranks are whole numbers: `dac` of 64 channels comes to 0.507."""
HEADS = ("layer", "form", "MACs", "edgecc ms", "of dense", "onnxruntime ms", "of dense",
         "edgecc / onnxruntime", "error")  # fmt: skip


def forms(channels: int) -> dict[str, str]:
    """The passes that rewrite a layer of so many channels, by the family's name."""
    return {
        "dac": "dac(rank=4)",
        "pointwise_depthwise": "pointwise_depthwise(rank=4)",
        "hetconv 2": "hetconv(parts=2)",
        "hetconv 4": "hetconv(parts=4)",
        "spatial_svd": f"spatial_svd(rank={channels * 3 // 4})",
        "basis": f"basis(rank={channels * 7 // 16})",
    }


@dataclass(frozen=True)
class Form:
    """A layer in one form, in both engines."""

    name: str
    macs: float
    ours: Engine
    theirs: Engine


@dataclass(frozen=True)
class Row:
    """The times of a form in milliseconds, and in each engine over the dense layer's."""

    layer: str
    form: str
    macs: float
    ours_ms: float
    of_dense: Ratio
    theirs_ms: float
    theirs_of_dense: Ratio
    ratio: Ratio
    error: float

    @property
    def misses(self) -> bool:
        """Whether a goal is asked of it, and missed."""
        asked = self.form != "dense" and self.macs <= HALF
        return not self.error <= WRONG or (asked and self.of_dense.value > LIMIT)

    def __str__(self) -> str:
        cells = [self.layer, self.form, f"{self.macs:.3f}", f"{self.ours_ms:.3f}", self.of_dense]
        cells += [f"{self.theirs_ms:.3f}", self.theirs_of_dense, self.ratio, f"{self.error:.0e}"]
        return table_row(cells)


def main() -> None:
    """Print the table, and what was missed."""
    parser = argparse.ArgumentParser(description="Rewritten layers against the dense one.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="families; default: all")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each form of a layer")
    parser.add_argument("--quick", action="store_true", help="half a second for each")
    parser.add_argument("--json", type=Path, help="the rows, as numbers")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args()
    with_tvm_threads(options.threads)
    seconds = 0.5 if options.quick else options.seconds
    print(table_head(HEADS))
    rows = []
    for layer in LAYERS:
        for row in measured(layer, options.only, seconds, options.threads):
            print(row, flush=True)
            rows.append(row)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    missed = [f"- {row.layer} {row.form}: {row.of_dense}, error {row.error:.0e}"
              for row in rows if row.misses]  # fmt: skip
    if missed:
        print(f"\nMissed ({LIMIT:g} of the dense layer's time):\n" + "\n".join(missed))
    if options.limit and missed:
        sys.exit(1)


def measured(layer: Layer, only: list[str] | None, seconds: float, threads: int) -> Iterator[Row]:
    """The rows of a layer: the dense one, then what is made of it."""
    texts = {"dense": "", **forms(layer.channels)}
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "layer.onnx"
        onnx.save(network(layer), model)
        made = [
            _form(name, text, model, threads)
            for name, text in texts.items()
            if not text or name.split()[0] in (only or [name.split()[0]])
        ]
        engines = [engine for form in made for engine in (form.ours, form.theirs)]
        times = interleaved(engines, seconds * len(made), threads)
        for index, form in enumerate(made):
            ours, theirs = times[2 * index : 2 * index + 2]
            yield Row(
                str(layer),
                form.name,
                form.macs,
                float(np.median(ours)),
                ratio(ours, times[0]),
                float(np.median(theirs)),
                ratio(theirs, times[1]),
                ratio(ours, theirs),
                difference(form.ours.outputs(), form.theirs.outputs()),
            )


def _form(name: str, passes: str, model: Path, threads: int) -> Form:
    out = model.parent / name.replace(" ", "")
    built = edgecc.build(model, "host", backend="tvm", passes=passes, out=out)
    macs = built.report["macs"]
    inputs = random_inputs(out / "model.onnx")
    theirs = of_onnxruntime(out / "model.onnx", inputs, threads)
    return Form(name, macs["after"] / macs["before"], of_edgecc(out, inputs), theirs)


if __name__ == "__main__":
    main()
