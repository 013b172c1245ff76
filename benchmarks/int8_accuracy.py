"""What int8 costs in accuracy: edgecc's, with and without balance factors, beside onnxruntime's.

    python benchmarks/int8_accuracy.py [--networks resnet20 ...] [--forms original depthwise ...]
        [--methods mse entropy ...] [--work FOLDER] [--assets FOLDER] [--limit]

Each network as it is and decomposed (calibrated, no training), in float32, in float16 and in int8.
All are computed as the graphs say, rounding by rounding, with sums in float32, as a GPU does.
A cell is the share of right answers (of the same answers as float32 for vww96, which has no labels
here) and the relative RMS error of the outputs against the same network in float32. The peer is
`quantize_static` of onnxruntime with its defaults, on the same samples; the last column is what
`edgecc build --precision int8` writes: balanced where that errs less on the samples, of which it
holds a quarter back.

`--limit` exits with 1 where a network on CIFAR-10 loses more than one point in int8, or its
outputs are further off than the peer's. (Of 500 images, two more or fewer are chance.)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from networks import Fold, Network, accuracy, add_assets_option, check_assets, crops96, networks
from onnxruntime.quantization import CalibrationDataReader, quantize_static

import edgecc
from edgecc.bundle import save_model
from edgecc.quantise import QuantWish, quantise_model
from edgecc.quantise.accuracy import Accuracy, Judge
from edgecc.quantise.balance import balance
from edgecc.quantise.make import DEFAULT
from edgecc.quantise.qdq import quantise
from edgecc.quantise.ranges import ranges, scan
from edgecc.quantise.simulate import Simulated, as_float16
from edgecc.quantise.thresholds import METHODS, Method
from edgecc.target import Arrays

FORMS = {
    "original": {},
    "depthwise": {"passes": "depthwise(energy=0.99)"},
    "basis": {"passes": "basis(energy=0.99)"},
    "planned": {"macs": 0.5},
}
"""How a network is rewritten, as keywords of `edgecc.build`."""
TAKEN: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "resnet20": (256, 500, ("original", "depthwise", "planned")),
    "mlperf_resnet8_wide": (256, 500, ("original", "depthwise", "planned")),
    "squeezenet1.1_fp16": (48, 100, ("original", "basis")),
    "mlperf_vww96": (64, 200, ("original",)),
}
"""Samples to calibrate on, to measure on, and the forms."""
ON_CIFAR = ("resnet20", "mlperf_resnet8_wide")
ALLOWED = 0.01


@dataclass(frozen=True)
class Score:
    """How right a form of a network is, and how far from float32."""

    right: float
    error: float

    def __str__(self) -> str:
        return f"{self.right:.1%} ({self.error:.4f})"


@dataclass(frozen=True)
class Bench:
    """A network in one form, in float32, and what it is calibrated and measured on."""

    model: Path
    calibration: list[Arrays]
    feeds: list[Arrays]
    labels: list[np.ndarray] | None
    scratch: Path

    def score(self, model: Path, found: Accuracy) -> Score:
        """How right the network in `model` is."""
        if self.labels is None:
            return Score(min(found.agreement.values()), found.error)
        with Simulated(model) as session:
            answers = [next(iter(session.run(feed).values())) for feed in self.feeds]
        return Score(accuracy(answers, self.labels), found.error)


def main() -> None:
    """Print the table."""
    options = _options()
    check_assets(options.assets)
    missed: list[str] = []
    columns = ["float32", "float16", "onnxruntime int8"]
    columns += [f"{m}{how}" for m in options.methods for how in (", unbalanced", ", balanced")]
    columns += ["edgecc int8"]
    print(f"| network | form | {' | '.join(columns)} | s |\n|{'---|' * (len(columns) + 3)}")
    for name, (calibrated, measured, forms) in TAKEN.items():
        if name not in (options.networks or TAKEN):
            continue
        network, fold = _taken(options.assets, name, calibrated, measured)
        for form in [form for form in forms if form in options.forms]:
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as scratch:
                bench = _bench(network, fold, form, options.work, Path(scratch))
                scores = list(_scores(bench, options.methods))
            cells = [name, form, *map(str, scores), f"{time.monotonic() - start:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            missed += [f"{name} {form}: {why}" for why in _misses(name, scores)]
    if missed:
        print("\nMissed:\n" + "\n".join(f"- {miss}" for miss in missed))
    if options.limit and missed:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What int8 costs in accuracy.")
    add_assets_option(parser)
    parser.add_argument("--networks", nargs="*", choices=list(TAKEN), help="default: all")
    parser.add_argument("--forms", nargs="*", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=[DEFAULT])
    parser.add_argument("--work", type=Path, help="keeps rewritten networks")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where one is missed")
    return parser.parse_args()


def _taken(assets: Path, name: str, calibrated: int, measured: int) -> tuple[Network, Fold]:
    """The network, and as many of its samples as are taken."""
    if name == "mlperf_vww96":
        model = assets / "models/misc/mlperf_vww96.onnx"
        network = Network(model, lambda: [crops96(assets)])
    else:
        network = next(one for one in networks(assets) if one.name == name)
    fold = network.folds()[0]
    inputs, labels = np.concatenate(fold.inputs)[:measured], None
    cuts = range(20, measured, 20)
    if fold.labels is not None:
        labels = np.split(np.concatenate(fold.labels)[:measured], cuts)
    return network, Fold(fold.calibration[:calibrated], np.split(inputs, cuts), labels)


def _bench(network: Network, fold: Fold, form: str, work: Path | None, scratch: Path) -> Bench:
    """Rewrite the network, or find it rewritten."""
    folder = (work or scratch) / f"{network.name}-{form}"
    if not (folder / "model.onnx").is_file():
        np.savez(scratch / "calib.npz", fold.calibration)
        given = {"calib": scratch / "calib.npz"} if FORMS[form] else {}
        edgecc.build(network.model, out=folder, **FORMS[form], **given)
    with Simulated(folder / "model.onnx") as session:
        wanted = session.inputs[0]
    one = wanted.shape[0] if isinstance(wanted.shape[0], int) else None

    def feeds(batches: Sequence[np.ndarray]) -> list[Arrays]:
        """In the type that the network takes, one by one where it takes no more."""
        cut = [part for b in batches for part in (np.split(b, len(b) // one) if one else [b])]
        return [{wanted.name: part.astype(wanted.dtype)} for part in cut]

    labels = list(fold.labels) if fold.labels is not None else None
    if one and labels is not None:
        labels = np.split(np.concatenate(labels), len(np.concatenate(labels)) // one)
    parts = np.split(fold.calibration, range(16, len(fold.calibration), 16))
    return Bench(folder / "model.onnx", feeds(parts), feeds(fold.inputs), labels, scratch)


def _scores(bench: Bench, methods: Sequence[Method]) -> Iterator[Score]:
    """float32, float16, the peer; each method without and with balance factors; the product."""
    judge = Judge(bench.model, bench.feeds)
    balanced = bench.scratch / "balanced.onnx"
    plain = scan(bench.model, bench.calibration)
    graph = ir.load(bench.model)
    balance(graph, plain)
    save_model(graph, balanced)
    yield bench.score(bench.model, judge(bench.model))
    for made in (as_float16(bench.model, bench.scratch / "half.onnx"), _peer(bench)):
        yield bench.score(made, judge(made))
    for method in methods:
        for model, known in ((bench.model, plain), (balanced, scan(balanced, bench.calibration))):
            found = ranges(model, bench.calibration, method, known)
            made = quantise(model, found, bench.scratch / "int8.onnx", channels=known).path
            yield bench.score(made, judge(made))
    written = quantise_model(
        ir.load(bench.model),
        bench.scratch / "edgecc.onnx",
        bench.calibration,
        QuantWish(),
        bench.scratch,
    )
    if written.qdq is not None:
        yield bench.score(written.qdq, judge(written.qdq))


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Sequence[Arrays]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Arrays | None:
        return next(self._feeds, None)


def _peer(bench: Bench) -> Path:
    """onnxruntime's own int8, with its defaults."""
    out = bench.scratch / "peer.onnx"
    quantize_static(bench.model, out, _Reader(bench.calibration))
    return out


def _misses(name: str, scores: Sequence[Score]) -> Iterator[str]:
    """What is not as the project wants it; the last score is the product's."""
    if name not in ON_CIFAR:
        return
    whole, peer, ours = scores[0], scores[2], scores[-1]
    if ours.right < whole.right - ALLOWED - 1e-9:
        yield f"int8 loses {whole.right - ours.right:.1%}"
    if ours.error > peer.error:
        yield f"onnxruntime's int8 is {ours.error / peer.error - 1:.0%} nearer to float32"


if __name__ == "__main__":
    main()
