"""How fast what edgecc compiles for this processor is, beside onnxruntime on the same models.

    python benchmarks/cpu_speed.py [--threads 1 2] [--only resnet20 ...] [--families dense dac ...]
        [--quick] [--seconds 5] [--work FOLDER] [--assets FOLDER] [--json FILE] [--limit]

The networks as they are (dense), and rewritten by one family at half the multiply-adds. A model is
built as a user builds it, with the TVM backend; the file in the bundle is what onnxruntime opens.
Both run in this process in turns, on arrays made once; times are medians, a ratio is edgecc's time
over onnxruntime's with its 95 % interval, "original" is onnxruntime on the network as it was.
`error` is the largest difference of the outputs, of their largest number.

Rewritten models are kept in `--work`; the libraries are always built. With two numbers of threads
each is measured in a process of its own, and their speed-ups are compared. `--limit` exits with 1
where a goal of the project is missed; numbers that are wrong are always a miss.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from engines import (
    Engine,
    difference,
    interleaved,
    of_edgecc,
    of_onnxruntime,
    random_inputs,
    with_tvm_threads,
)
from networks import add_assets_option, check_assets
from ratios import Ratio, ratio, table_head, table_row
from speed_goals import finish, misses, slower_with_threads
from speed_networks import FAMILIES, Timed, rewritten, timed_networks

import edgecc

DENSE = "dense"
HEADS = ("network", "family", "MACs", "edgecc ms", "onnxruntime ms", "ratio", "of original",
         "error", "build s")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A network in both engines, times in milliseconds."""

    network: str
    family: str
    threads: int
    macs: float
    """Of the original's."""
    ours_ms: float
    theirs_ms: float
    ratio: Ratio
    of_original: Ratio | None
    """Against onnxruntime on the network as it was; None for that network itself."""
    error: float
    build_s: float

    def __str__(self) -> str:
        times = [f"{self.ours_ms:.3f}", f"{self.theirs_ms:.3f}", self.ratio, self.of_original or ""]
        macs = f"{self.macs:.3f}"
        last = (f"{self.error:.0e}", f"{self.build_s:.1f}")
        return table_row([self.network, self.family, macs, *times, *last])


def main() -> None:
    """Print a table for each number of threads, and what was missed."""
    options = _options()
    check_assets(options.assets)
    if len(options.threads) > 1:
        rows = [row for threads in options.threads for row in _in_a_process(threads, options.json)]
        missed = misses([row for row in rows if row["threads"] == 1])[1]
        missed += slower_with_threads(rows)
    else:
        with_tvm_threads(options.threads[0])
        rows, missed = _tables(options)
    finish(rows, missed, options.json, limit=options.limit)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed beside onnxruntime on this processor.")
    add_assets_option(parser)
    parser.add_argument("--threads", type=int, nargs="*", default=[1])
    parser.add_argument("--only", nargs="*", help="networks; default: all")
    parser.add_argument("--families", nargs="*", default=[DENSE, *FAMILIES])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row")
    parser.add_argument("--quick", action="store_true", help="one second for each row")
    work = Path(tempfile.gettempdir()) / "edgecc-speed"
    parser.add_argument("--work", type=Path, default=work, help="where rewritten models are kept")
    parser.add_argument("--json", type=Path, help="the rows, as numbers")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args()
    options.seconds = 1.0 if options.quick else options.seconds
    return options


def _in_a_process(threads: int, kept: Path | None) -> list[dict]:
    """The rows of this program with so many threads; it prints its own table."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        line = [word for word in sys.argv if word != "--limit"]
        at = line.index("--threads")
        end = next((i for i in range(at + 1, len(line)) if line[i].startswith("-")), len(line))
        line[at:end] = ["--threads", str(threads)]
        command = [sys.executable, *line, "--json", file.name]
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"no figures with {threads} threads")
        return json.loads(Path(file.name).read_text())


def _tables(options: argparse.Namespace) -> tuple[list[dict], list[str]]:
    """Measure everything asked for, printing as it goes; the rows and what they miss."""
    (threads,) = options.threads
    print(f"\n{threads} thread{'s' * (threads > 1)}\n\n{table_head(HEADS)}")
    rows: list[dict] = []
    for network in timed_networks(options.assets, options.work):
        if network.name in (options.only or [network.name]):
            for row in measured(network, options.families, options.work, threads, options.seconds):
                print(row, flush=True)
                rows.append(asdict(row))
    told, missed = misses(rows)
    print("\n" + "\n".join(told))
    return rows, missed


def measured(
    network: Timed, families: list[str], work: Path, threads: int, seconds: float
) -> Iterator[Row]:
    """The rows of a network, as they are measured."""
    with tempfile.TemporaryDirectory() as scratch:
        original = Pair.built(network.model, network.shape, Path(scratch) / DENSE, threads)
        for family in families:
            macs, pair = 1.0, original
            if family != DENSE:
                small = rewritten(network, family, "host", work)
                folder, macs = Path(scratch) / family, small.macs
                pair = Pair.built(small.model, network.shape, folder, threads)
            engines = [pair.ours, pair.theirs, *([original.theirs] if pair is not original else [])]
            times = interleaved(engines, seconds, threads)
            yield Row(
                network.name,
                family,
                threads,
                macs,
                *map(float, np.median(times[:2], axis=1)),
                ratio(times[0], times[1]),
                ratio(times[0], times[2]) if pair is not original else None,
                difference(pair.ours.outputs(), pair.theirs.outputs()),
                pair.build_s,
            )


@dataclass(frozen=True)
class Pair:
    """One model in both engines."""

    ours: Engine
    theirs: Engine
    build_s: float

    @classmethod
    def built(
        cls, model: Path, shape: Mapping[str, tuple[int, ...]], folder: Path, threads: int
    ) -> Pair:
        """Build `model` into `folder`, rewriting nothing."""
        start = time.monotonic()
        edgecc.build(model, "host", backend="tvm", passes="", shape=shape, out=folder)
        seconds = time.monotonic() - start
        inputs = random_inputs(folder / "model.onnx")
        theirs = of_onnxruntime(folder / "model.onnx", inputs, threads)
        return cls(of_edgecc(folder, inputs), theirs, seconds)


if __name__ == "__main__":
    main()
