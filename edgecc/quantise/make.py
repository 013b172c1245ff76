"""A network in float32 to int8: from its graph and samples to files, and what that costs.

After legalisation, when names and operators are final, `quantise_model` takes the graph, balances
its convolutions (exactly), writes it to `path` (model.onnx), and beside it what TensorRT reads:
model.int8.onnx with explicit Q/DQ pairs (TensorRT 8.0 and later), or calibration.cache for the
network in float32 (7.1 to 10, and DLA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir

from edgecc.bundle import save_model
from edgecc.distance import first_samples
from edgecc.errors import UsageError
from edgecc.oracle import specs
from edgecc.planning.evaluate import Evaluation
from edgecc.quantise.accuracy import Judge, split
from edgecc.quantise.balance import balance
from edgecc.quantise.cache import write_cache
from edgecc.quantise.qdq import Quantised, layers, quantise
from edgecc.quantise.ranges import Channels, ranges, scan
from edgecc.quantise.sensitivity import choose_kept, sensitivity
from edgecc.quantise.simulate import as_float16
from edgecc.quantise.thresholds import Method
from edgecc.target import Arrays, Tell

CACHE = "calibration.cache"
DEFAULT: Method = "mse"
MOST_RANKED = 32
"""Samples that layers are ranked on, by the error of the outputs: each takes a run of them."""


@dataclass(frozen=True)
class QuantWish:
    """How a network goes to int8."""

    form: Literal["qdq", "cache", "both"] = "qdq"
    release: str = "8.5.2"
    """Of the TensorRT that reads the cache."""
    method: Method = DEFAULT
    """How activations are cut off (`edgecc.quantise.thresholds`)."""
    keep: Sequence[str] = ()
    """The nodes that stay in float."""
    balance: bool = True
    """Whether convolutions are balanced, where int8 is measured to be better for it."""
    most: float | None = None
    """The loss that is allowed: of the user's metric where there is one, else the relative RMS
    error of the outputs. Layers are taken back to float until it is met."""


@dataclass(frozen=True)
class Written:
    """What was written, and what report.json says of it."""

    model: Path
    """The network in float32, balanced."""
    qdq: Path | None
    cache: Path | None
    kept: tuple[str, ...]
    """The nodes that stay in float: where a cache is used, TensorRT has to be told of them."""
    record: dict[str, Any]


def quantise_model(
    graph: ir.Model,
    path: Path,
    feeds: Sequence[Arrays],
    wish: QuantWish,
    scratch: Path,
    *,
    evaluation: Evaluation | None = None,
    tell: Tell = lambda text: None,
) -> Written:
    """Balance the legalised `graph` in place, write it to `path` and its int8 forms beside it.

    `feeds` are calibration samples; a quarter of them is held out, to measure on.
    Errors: `edgecc.errors.BuildError` for what cannot be a QDQ graph (the cost of a cache is
    measured on one too), `edgecc.errors.UsageError` for a layer to keep that is not there,
    `edgecc.errors.ModelError` for numbers that are none.
    """
    _check_kept(graph, wish.keep)
    by_sample = not any(isinstance(spec.shape[0], int) for spec in specs(graph) if spec.shape)
    used, held, other = split(feeds, by_sample=by_sample)
    save_model(graph, path)
    tell("the range of every channel")
    channels = scan(path, used)
    tell(f"where to cut activations off ({wish.method})")
    known = ranges(path, used, wish.method, channels)
    work = Work(path, channels, known, Judge(path, first_samples(used, MOST_RANKED)), scratch)
    balanced: list[dict[str, Any]] = []
    if wish.balance:
        tell("balance factors")
        work, balanced = _balanced(graph, work, used, wish.method)
    work = replace(work, judge=Judge(path, held, evaluation))
    kept, ranked = tuple(wish.keep), dict[str, float]()
    if wish.most is not None:
        ranked, kept = work.keep(layers(graph), kept, wish.most, held, tell)
    tell("int8")
    beside = path if wish.form != "cache" else scratch / path.name
    made = work.quantised(kept, beside.with_suffix(".int8.onnx"))
    cache = path.with_name(CACHE)
    record = {
        "method": wish.method,
        "held_out": other,
        "samples": sum(len(next(iter(feed.values()))) for feed in used),
        "layers": len(made.layers),
        "in_float": dict(made.left),
        "balanced": balanced,
        "accuracy": work.account(made),
        **({"sensitivity": {n: float(f"{d:.3g}") for n, d in ranked.items()}} if ranked else {}),
    }
    return Written(
        path,
        made.path if wish.form != "cache" else None,
        write_cache(cache, work.ranges, wish.release) if wish.form != "qdq" else None,
        kept,
        record,
    )


@dataclass(frozen=True)
class Work:
    """A network, what its activations hold, and who judges what is made of it."""

    model: Path
    channels: Mapping[str, Channels]
    ranges: Mapping[str, float]
    judge: Judge
    scratch: Path

    def quantised(self, kept: Sequence[str], out: Path) -> Quantised:
        """The QDQ graph."""
        return quantise(self.model, self.ranges, out, kept, self.channels)

    def lost(self, kept: Sequence[str]) -> float:
        """What is lost where these layers are kept."""
        return self.judge.damage(self.quantised(kept, self.scratch / "tried.onnx").path)

    def keep(
        self,
        names: Sequence[str],
        kept: tuple[str, ...],
        most: float,
        feeds: Sequence[Arrays],
        tell: Tell,
    ) -> tuple[dict[str, float], tuple[str, ...]]:
        """What each layer loses alone, on some of `feeds`; and which to keep to lose `most`, those
        in `kept` first.
        """
        few = replace(self, judge=Judge(self.model, first_samples(feeds, MOST_RANKED)))
        ranked = sensitivity([name for name in names if name not in kept], few.lost, tell)
        chosen = choose_kept(list(ranked), lambda more: self.lost([*kept, *more]), most)
        return ranked, (*kept, *chosen.names)

    def account(self, made: Quantised) -> dict[str, Any]:
        """What float16 and int8 cost, for the report."""
        half = as_float16(self.model, self.scratch / "half.onnx")
        told: dict[str, Any] = {"float32": {"metric": self.judge.metric}}
        told["float16"] = self.judge(half).to_json()
        told["int8"] = self.judge(made.path).to_json()
        return told


def _check_kept(graph: ir.Model, keep: Sequence[str]) -> None:
    there = {node.name for node in graph.graph}
    if unknown := [name for name in keep if name not in there]:
        raise UsageError(
            f"there is no node '{unknown[0]}' to keep in float",
            hint=f"those that int8 takes are {', '.join(layers(graph)[:8])} ...",
        )


def _balanced(
    graph: ir.Model, work: Work, feeds: Sequence[Arrays], method: Method
) -> tuple[Work, list[dict[str, Any]]]:
    """Balance `graph` in place and in its file, where that leaves less error on the samples."""
    trial = graph.clone()
    applied = [decision for decision in balance(trial, work.channels) if decision.applied]
    if not applied:
        return work, []
    other = save_model(trial, work.scratch / "balanced.onnx")
    channels = scan(other, feeds)
    balanced = replace(
        work, model=other, channels=channels, ranges=ranges(other, feeds, method, channels)
    )
    if balanced.lost(()) >= work.lost(()):
        return work, []
    balance(graph, work.channels)
    save_model(graph, work.model)
    return replace(balanced, model=work.model), [
        {"convolution": d.node, "power": (d.options or {})["power"], "note": d.note}
        for d in applied
    ]
