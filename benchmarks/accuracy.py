"""What half of the multiply-adds, and less, cost in accuracy: no training, no labels.

    python benchmarks/accuracy.py [--networks resnet20 ...] [--families all basis ...]
        [--forms weights refit] [--peers PYTHON] [--assets FOLDER] [--limit]

One table a network: a row for all families together and for each alone, at the budgets that the
project has set itself, every plan carried out in the four forms of `forms.py`; and beside them
other people's tools at the same multiply-adds (`peers.py`, run by a Python that has them). The
multiply-adds are counted on the graphs written; seconds are those of the product's build. Scores
are percent right, or the decibels between the network's outputs and the original's.

`--limit` exits with 1 where all families together miss what the project requires, where a peer is
ahead of them, or where a founding family is no better than its own form from the weights alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from forms import FORMS, other_forms
from networks import (
    Goal,
    Network,
    accuracy,
    add_assets_option,
    check_assets,
    networks,
    outputs,
    psnr,
)
from peers import PEERS

import edgecc
from edgecc import preview
from edgecc.errors import BudgetError, EdgeccError

FOUNDING = ("basis", "dac", "depthwise", "hetconv", "msgc")
FAMILIES = (*FOUNDING, "tucker2", "spatial_svd", "pointwise_depthwise", "channel_prune")
ALL = "all"


@dataclass(frozen=True)
class Row:
    """How a network does after one way of making it smaller."""

    way: str
    asked: float
    macs: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    """By form."""
    seconds: float = 0.0
    cannot: str = ""
    """Why there is nothing to measure."""


def main() -> None:
    """Print the tables."""
    options = _options()
    check_assets(options.assets)
    missed: list[str] = []
    for network in networks(options.assets):
        if network.goals and network.name in (options.networks or [network.name]):
            with tempfile.TemporaryDirectory() as scratch:
                missed += table(Bench(network, Path(scratch)), options)
    if missed:
        print("\nMissed:\n" + "\n".join(f"- {miss}" for miss in missed))
    if options.limit and missed:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Accuracy at the project's budgets.")
    add_assets_option(parser)
    parser.add_argument("--networks", nargs="*", help="their names; default: all")
    parser.add_argument("--families", nargs="*", choices=[ALL, *FAMILIES], default=[ALL, *FAMILIES])
    parser.add_argument("--forms", nargs="*", choices=FORMS, default=list(FORMS))
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="a Python that has them")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where one is missed")
    return parser.parse_args()


class Bench:
    """A network with its data and a folder to work in."""

    def __init__(self, network: Network, scratch: Path) -> None:
        self.network, self.scratch = network, scratch
        self.folds = network.folds()
        self._standard = [y for fold in self.folds for y in outputs(network.model, fold.inputs)]
        self.original = self.score([network.model] * len(self.folds))
        found = preview.inspect(network.model)
        pointwise = [c for c in found["convolutions"] if set(c["weight"][2:]) == {1}]
        self.keep = [c["name"] for c in pointwise] if network.only_3x3 else []
        kept = sum(c["macs"] for c in pointwise)
        total = sum(c["macs"] for c in found["convolutions"])
        self._share_3x3 = (total - kept) / found["macs"]
        for index, fold in enumerate(self.folds):
            np.savez(self.calib(index), fold.calibration)

    def calib(self, fold: int) -> Path:
        """The .npz that a fold is calibrated on."""
        return self.scratch / f"calib{fold}.npz"

    def asked(self, goal: Goal) -> float:
        """A goal's share of all multiply-adds."""
        return goal.macs if goal.part == "all" else 1 - self._share_3x3 * (1 - goal.macs)

    def score(self, models: list[Path]) -> float:
        """How good the models of all folds are together."""
        pairs = zip(models, self.folds, strict=True)
        found = [y for model, fold in pairs for y in outputs(model, fold.inputs)]
        if self.network.metric == "PSNR":
            return psnr(found, self._standard)
        return accuracy(found, [y for fold in self.folds for y in fold.labels or []])


def table(bench: Bench, options: argparse.Namespace) -> list[str]:
    """Print the table of a network; return what was missed."""
    network = bench.network
    print(f"\n{network.name}, {network.metric}\n")
    forms = [form for form in FORMS if form in {*options.forms, "refit"}]
    heads = ["families", "asked", "MACs", *(FORMS[form] for form in forms), "required", "s"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    original = _shown(bench, bench.original)
    print(f"| original | | 1.000 |{' |' * (len(forms) - 1)} {original} | | |", flush=True)
    missed: list[str] = []
    for goal in network.goals:
        rows = []
        for row in measured(bench, bench.asked(goal), options):
            rows.append(row)
            _print(bench, row, goal, forms)
        missed += [
            f"{network.name} {row.asked:.3f}: {why}" for row, why in misses(bench, goal, rows)
        ]
    return missed


def measured(bench: Bench, asked: float, options: argparse.Namespace) -> Iterator[Row]:
    """The rows at one budget, as they are measured."""
    for families in options.families:
        yield rewritten(bench, asked, families, options.forms)
    for peer in PEERS if options.peers else ():
        yield of_peer(bench, asked, peer, options.peers)


def rewritten(bench: Bench, asked: float, families: str, forms: list[str]) -> Row:
    """Plan with edgecc, and carry the plan out in each form."""
    made: dict[str, list[Path]] = {}
    seconds, macs = 0.0, []
    for fold in range(len(bench.folds)):
        folder = bench.scratch / f"{families}-{asked}-{fold}"
        start = time.monotonic()
        try:
            built = edgecc.build(
                bench.network.model,
                macs=asked,
                families=None if families == ALL else families,
                keep=", ".join(bench.keep) or None,
                calib=bench.calib(fold),
                out=folder / "refit",
            )
        except BudgetError as error:
            return Row(families, asked, cannot=f"cannot: {error.hint}")
        except EdgeccError as error:
            return Row(families, asked, cannot=f"failed: {error}")
        seconds += time.monotonic() - start
        macs.append(built.report["macs"]["after"] / built.report["macs"]["before"])
        made.setdefault("refit", []).append(built.folder / "model.onnx")
        if {*forms} - {"refit"}:
            for form, model in other_forms(built, bench.network.model, bench.calib(fold)):
                made.setdefault(form, []).append(model)
    scores = {form: bench.score(models) for form, models in made.items()}
    return Row(families, asked, max(macs), scores, seconds)


def of_peer(bench: Bench, asked: float, peer: str, python: Path) -> Row:
    """Compress with somebody else's tool."""
    models, macs = [], []
    start = time.monotonic()
    for fold in range(len(bench.folds)):
        out = bench.scratch / f"{peer.replace(' ', '-')}-{asked}-{fold}.onnx"
        command = [str(python), str(Path(__file__).with_name("peers.py"))]
        command += [str(bench.network.model), "--macs", str(asked), "--peer", peer]
        command += ["--calib", str(bench.calib(fold)), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            why = (done.stderr.strip() or "no message").splitlines()[-1]
            return Row(peer, asked, cannot=f"cannot: {why}")
        models.append(out)
        macs.append(json.loads(done.stdout.splitlines()[-1])["macs"])
    scores = {"refit": bench.score(models)}
    return Row(peer, asked, max(macs), scores, time.monotonic() - start)


def misses(bench: Bench, goal: Goal, rows: list[Row]) -> Iterator[tuple[Row, str]]:
    """What is not as the project wants it."""
    ours = next((row for row in rows if row.way == ALL), None)
    for row in rows:
        score = row.scores.get("refit", -np.inf)
        if row is ours and not bench.network.met(goal, score, bench.original):
            yield row, "all families miss what is required"
        if row.way in PEERS and ours and score > ours.scores.get("refit", -np.inf):
            yield row, f"{row.way} is ahead"
        if row.way in FOUNDING and score <= row.scores.get("weights", -np.inf):
            yield row, f"{row.way} is no better for its calibration"


def _print(bench: Bench, row: Row, goal: Goal, forms: list[str]) -> None:
    if row.cannot:
        print(f"| {row.way} | {row.asked:.3f} | {row.cannot} |", flush=True)
        return
    cells = [row.way, f"{row.asked:.3f}", f"{row.macs:.3f}"]
    cells += [_shown(bench, row.scores[form]) if form in row.scores else "" for form in forms]
    required = ""
    if row.way == ALL:
        least = goal.allowed if bench.network.metric == "PSNR" else None
        bar = bench.original - goal.allowed / 100 if least is None else least
        met = bench.network.met(goal, row.scores["refit"], bench.original)
        required = f"{_shown(bench, bar)}: {'met' if met else 'MISSED'}"
    print(f"| {' | '.join([*cells, required, f'{row.seconds:.0f}'])} |", flush=True)


def _shown(bench: Bench, score: float) -> str:
    return f"{score:.1f} dB" if bench.network.metric == "PSNR" else f"{score:.1%}"


if __name__ == "__main__":
    main()
