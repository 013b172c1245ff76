"""What a narrow form of a network costs in accuracy, measured on this machine before any board."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgecc.planning.evaluate import Evaluation
from edgecc.quantise.simulate import Simulated
from edgecc.target import Arrays

HELD_OUT = 4
"""One batch, or sample, in so many is not calibrated on."""


@dataclass(frozen=True)
class Accuracy:
    """How far a narrow network is from the network in float32, over all samples."""

    errors: dict[str, float]
    """By output: RMS of what moved, over the RMS of what was there."""
    agreement: dict[str, float] = field(default_factory=dict)
    """By output that looks like the scores of classes: the share of samples with the same best."""
    metric: float | None = None
    """The user's own."""

    @property
    def error(self) -> float:
        """The largest error of an output."""
        return max(self.errors.values(), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, to four digits; None stands for what is no finite number."""
        return {
            "rms_error": {name: _short(value) for name, value in self.errors.items()},
            "top1_agreement": {name: _short(value) for name, value in self.agreement.items()},
            "metric": None if self.metric is None else _short(self.metric),
        }


class Judge:
    """The network in float32, its outputs on some samples, and what others are beside it."""

    def __init__(
        self, model: Path, feeds: Sequence[Arrays], evaluation: Evaluation | None = None
    ) -> None:
        self._feeds, self._evaluation = feeds, evaluation
        with Simulated(model) as session:
            self._reference = [session.run(feed) for feed in feeds]
            self.metric = evaluation.score(session) if evaluation else None
            """The user's metric of the network in float32."""

    def __call__(self, model: Path) -> Accuracy:
        """Measure another form of the network. Errors: `edgecc.errors.UsageError` of the metric."""
        gap: dict[str, float] = {}
        energy: dict[str, float] = {}
        same: dict[str, list[bool]] = {}
        with Simulated(model) as session:
            for feed, reference in zip(self._feeds, self._reference, strict=True):
                for name, found in session.run(feed).items():
                    was = reference[name]
                    if was.dtype.kind != "f":
                        continue
                    with np.errstate(invalid="ignore", over="ignore"):
                        moved = found.astype(np.float64) - was
                    gap[name] = gap.get(name, 0.0) + float(np.sum(np.square(moved)))
                    energy[name] = energy.get(name, 0.0) + _energy(was)
                    if _is_scores(was):
                        same.setdefault(name, []).extend(_best(found) == _best(was))
            metric = self._evaluation.score(session) if self._evaluation else None
        errors = {name: math.sqrt(gap[name] / (energy[name] or 1.0)) for name in gap}
        return Accuracy(errors, {name: float(np.mean(s)) for name, s in same.items()}, metric)

    def damage(self, model: Path) -> float:
        """Return what a form of the network loses: of the user's metric, or the largest error."""
        found = self(model)
        if self.metric is not None and found.metric is not None:
            return self.metric - found.metric
        return found.error if math.isfinite(found.error) else math.inf


def split(feeds: Sequence[Arrays], *, by_sample: bool) -> tuple[list[Arrays], list[Arrays], bool]:
    """Return what to calibrate on, what to measure on, and whether those are other samples.

    One batch in four is held out; of fewer batches one sample in four where the network takes any
    batch (`by_sample`); what cannot be split serves both.
    """
    if len(feeds) >= HELD_OUT:
        held = list(feeds[HELD_OUT - 1 :: HELD_OUT])
        return [f for i, f in enumerate(feeds) if i % HELD_OUT != HELD_OUT - 1], held, True
    if not by_sample or min(len(next(iter(feed.values()))) for feed in feeds) < HELD_OUT:
        return list(feeds), list(feeds), False
    held = [{n: a[HELD_OUT - 1 :: HELD_OUT] for n, a in feed.items()} for feed in feeds]
    used = [
        {n: a[np.arange(len(a)) % HELD_OUT != HELD_OUT - 1] for n, a in feed.items()}
        for feed in feeds
    ]
    return used, held, True


def _energy(array: Any) -> float:
    return float(np.sum(np.square(array.astype(np.float64))))


def _is_scores(array: Any) -> bool:
    """Whether an output (N, K, 1, ...) may be the scores of K classes."""
    return bool(array.ndim > 1 and array.shape[1] > 1 and array[0].size == array.shape[1])


def _best(scores: Any) -> Any:
    return scores.reshape(len(scores), -1).argmax(axis=1)


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
