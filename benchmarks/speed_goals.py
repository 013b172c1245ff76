"""What the project wants of speed, and where rows of measurements miss it.

A row is the JSON of `cpu_speed.py` or `arm_speed.py`: network, family, threads, macs, ratio
({"value", "low", "high"}), of_original, error, build_s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ratios import geometric_mean

DENSE = "dense"
EACH_DENSE, MEAN_DENSE, MEAN_REWRITTEN, MEAN_OF_ORIGINAL = 1.0, 0.85, 0.8, 0.45
MEAN_ARM = 0.9
WRONG = 1e-3
"""Of the largest output: nothing that rounds to float32, nor to an output in float16."""
HALF = 0.505
"""Above, a row is not at half the multiply-adds, and is told."""
BUILD_S = 60.0
TIMED_BUILD = "resnet18"


def misses(rows: Sequence[dict]) -> tuple[list[str], list[str]]:
    """Lines about the whole of a table, and what in it misses a goal for one thread of x86."""
    told, missed = [], wrong(rows)
    dense, small = _split(rows)
    one = all(row["threads"] == 1 for row in rows)  # the goals are for one thread
    for name, values, limit in (
        ("dense, edgecc / onnxruntime", [_value(row) for row in dense], MEAN_DENSE),
        ("rewritten, edgecc / onnxruntime", [_value(row) for row in small], MEAN_REWRITTEN),
        (
            "rewritten in edgecc / original in onnxruntime",
            [row["of_original"]["value"] for row in small],
            MEAN_OF_ORIGINAL,
        ),
    ):
        if values:
            mean = geometric_mean(values)
            told.append(f"{name}: geometric mean {mean:.3f}, wanted {limit:g}")
            if one and mean > limit:
                missed.append(told[-1])
    for row in dense:
        if one and _value(row) > EACH_DENSE:
            missed.append(f"{row['network']}: {_value(row):.2f} of onnxruntime's time")
    told += [
        f"{row['network']} by {row['family']} is at {row['macs']:.3f} of the MACs, its nearest"
        for row in small
        if row["macs"] > HALF
    ]
    for row in dense:
        if row["network"] == TIMED_BUILD:
            told.append(f"{TIMED_BUILD} is built in {row['build_s']:.1f} s, wanted {BUILD_S:g}")
            missed += [told[-1]] if row["build_s"] > BUILD_S else []
    return told, missed


def arm_misses(rows: Sequence[dict]) -> tuple[list[str], list[str]]:
    """The same for instruction time on ARM, dense and rewritten together."""
    told, missed = [], wrong(rows)
    dense, small = _split(rows)
    for name, some in (("dense", dense), ("rewritten", small), ("all", rows)):
        if some:
            mean = geometric_mean(_value(row) for row in some)
            told.append(f"{name}: geometric mean {mean:.3f}, wanted {MEAN_ARM:g}")
            if name == "all" and mean > MEAN_ARM:
                missed.append(told[-1])
    return told, missed


def slower_with_threads(rows: Sequence[dict]) -> list[str]:
    """Print what more threads gain in either engine; where edgecc gains less, on the whole."""
    missed = []
    one = {_key(row): row for row in rows if row["threads"] == 1}
    for threads in sorted({row["threads"] for row in rows} - {1}):
        pairs = [
            (one[_key(row)], row) for row in rows if row["threads"] == threads and _key(row) in one
        ]
        for name, some in zip((DENSE, "rewritten"), _pairs_split(pairs), strict=True):
            if not some:
                continue
            ours, theirs = (
                geometric_mean(before[side] / after[side] for before, after in some)
                for side in ("ours_ms", "theirs_ms")
            )
            line = f"{name}, {threads} threads: edgecc {ours:.2f} times as fast as with one"
            line += f", onnxruntime {theirs:.2f}"
            print(line)
            if ours < theirs:
                missed.append(line)
    return missed


def wrong(rows: Iterable[dict]) -> list[str]:
    """The rows whose numbers are not onnxruntime's."""
    return [
        f"{row['network']} by {row['family']} is wrong: {row['error']:.1e} of its largest output"
        for row in rows
        if not row["error"] <= WRONG
    ]


def _split(rows: Sequence[dict]) -> tuple[list[dict], list[dict]]:
    dense = [row for row in rows if row["family"] == DENSE]
    return dense, [row for row in rows if row["family"] != DENSE]


def _pairs_split(pairs: list[tuple[dict, dict]]) -> tuple[list, list]:
    dense = [pair for pair in pairs if pair[0]["family"] == DENSE]
    return dense, [pair for pair in pairs if pair[0]["family"] != DENSE]


def _value(row: dict) -> float:
    return row["ratio"]["value"]


def _key(row: dict) -> tuple[str, str]:
    return row["network"], row["family"]


def finish(rows: list[dict], missed: list[str], file: Path | None, *, limit: bool) -> None:
    """Write the rows to `file`, say what was missed, and with `limit` exit with 1 for it."""
    if file:
        file.write_text(json.dumps(rows, indent=1) + "\n")
    if missed:
        print("\nMissed:\n" + "\n".join(f"- {miss}" for miss in missed))
    if limit and missed:
        sys.exit(1)
