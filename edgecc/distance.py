"""How far the rewritten network's outputs are from the original's, on inputs that say most."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecc import oracle
from edgecc.calibration.samples import Samples
from edgecc.oracle import Difference
from edgecc.target import Arrays
from edgecc.verify import Proofs

MOST_SAMPLES = 64
MOST_MACS = 1e11
"""Multiply-adds that each of the two networks may take for it, seconds."""


@dataclass(frozen=True)
class Distance:
    """The difference of each output, and what the networks were run on."""

    on: Mapping[str, Any]
    """`kind`: random, file or calibration; `name` and `samples` where there are any."""
    outputs: Mapping[str, Difference]


def measure(
    proofs: Proofs, written: Path, outputs: Arrays, samples: Samples | None, macs: int
) -> Distance:
    """Return how far the network in `written` is from the original.

    That is on the calibration samples, if there are any and the user gave no inputs to verify
    with; else on the inputs of the proofs, whose `outputs` are known. `macs` are what a sample
    takes.
    Errors: `edgecc.errors.BuildError` where outputs are no numbers any more.
    """
    known = proofs.check_rewritten(outputs)
    if samples is None or proofs.used["kind"] != "random":
        return Distance(proofs.used, known)
    feeds = first_samples(samples.feeds, min(MOST_SAMPLES, MOST_MACS / max(macs, 1)))
    found: dict[str, Difference] = dict.fromkeys(known, Difference(0.0, 0.0))
    both = (oracle.run_each(model, feeds) for model in (proofs.original, written))
    for reference, rewritten in zip(*both, strict=True):
        differences = replace(proofs, reference=reference).check_rewritten(rewritten)
        for name, difference in differences.items():
            found[name] = oracle.worst({"before": found[name], "now": difference})
    count = sum(len(next(iter(feed.values()))) for feed in feeds)
    return Distance({"kind": "calibration", "name": samples.data.name, "samples": count}, found)


def first_samples(feeds: Sequence[Arrays], most: float) -> list[Arrays]:
    """The first batches that hold `most` samples together, one at least."""
    sizes = [len(next(iter(feed.values()))) for feed in feeds]
    before = [0, *itertools.accumulate(sizes)]
    return [feed for feed, start in zip(feeds, before, strict=False) if not start or start < most]
