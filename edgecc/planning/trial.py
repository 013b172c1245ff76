"""Measures what a rewritten network lost: of the user's own metric, or of its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgecc.bundle import MODEL, save_model
from edgecc.planning.budget import Goal
from edgecc.planning.evaluate import Evaluation
from edgecc.planning.search import Verdict
from edgecc.target import Arrays, Session

Open = Callable[[Path], Session]
"""Opens the model in a folder."""


class Trial:
    """The network as it was, and how far from it a rewritten one may be."""

    def __init__(
        self,
        goal: Goal,
        evaluation: Evaluation | None,
        model: ir.Model,
        feeds: Sequence[Arrays],
        open_model: Open,
        scratch: Path,
    ) -> None:
        self._goal, self._evaluation, self._feeds = goal, evaluation, feeds
        self._open, self._folder = open_model, scratch / "trial"
        self._folder.mkdir(exist_ok=True)
        with self._session(model) as session:
            self._score = evaluation.score(session) if evaluation else 0.0
            self._outputs = (
                [session.run(feed) for feed in feeds] if goal.max_error is not None else []
            )

    def __call__(self, model: ir.Model) -> Verdict:
        """Judge a rewritten network. Errors: `edgecc.errors.UsageError` of the evaluation."""
        told, accepted, measured = [], True, {}
        with self._session(model) as session:
            if self._goal.max_error is not None:
                measured["error"] = error = self._error(session)
                accepted &= error <= self._goal.max_error
                told.append(f"outputs moved by {error:.3g}")
            if self._goal.max_drop is not None and self._evaluation is not None:
                measured["metric"] = score = self._evaluation.score(session)
                accepted &= self._score - score <= self._goal.max_drop.allowed(self._score)
                told.append(f"metric {score:.6g}, was {self._score:.6g}")
        original = {"metric": self._score} if "metric" in measured else {}
        return Verdict(bool(accepted), ", ".join(told), measured, original)

    def _session(self, model: ir.Model) -> Session:
        save_model(model, self._folder / MODEL)
        return self._open(self._folder)

    def _error(self, session: Session) -> float:
        """RMS of what the outputs moved, over their RMS, the worst of them."""
        gap: dict[str, float] = {}
        energy: dict[str, float] = {}
        for feed, reference in zip(self._feeds, self._outputs, strict=True):
            for name, array in session.run(feed).items():
                if array.shape != reference[name].shape:
                    return math.inf
                was = reference[name].astype(np.float64)
                gap[name] = gap.get(name, 0.0) + float(np.sum((array - was) ** 2))
                energy[name] = energy.get(name, 0.0) + float(np.sum(was**2))
        return max(math.sqrt(gap[name] / (energy[name] or 1.0)) for name in gap)
