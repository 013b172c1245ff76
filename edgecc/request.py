"""What a user asks of the rewrite: how, how far, and with which samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from edgecc.calibration.preprocessing import Preprocessing
from edgecc.errors import UsageError
from edgecc.planning.budget import Goal
from edgecc.planning.evaluate import Evaluation

if TYPE_CHECKING:
    from typing_extensions import Unpack

Fraction = float | str
"""0.5, or "50%"."""
MODELLED = "model"
"""As prices: those of the board's roofline, whatever was measured."""


class Asked(TypedDict, total=False):
    """The keywords that make a `Request`; what they mean stands there."""

    passes: str | None
    plan: str | Path | None
    macs: Fraction | None
    params: Fraction | None
    latency: Fraction | None
    energy: Fraction | None
    max_error: float | str | None
    max_drop: float | str | None
    evaluation: str | None
    families: str | None
    keep: str | None
    calib: str | Path | None
    preprocessing: Preprocessing | None
    samples: int | None
    relu_aware: bool | None
    prices: str | Path | None


@dataclass(frozen=True)
class Request:
    """How the convolutions should be rewritten, as a user says it.

    `passes`, `plan` and `goal` exclude each other; with none of them the target's default passes
    are taken.
    Errors: `edgecc.errors.UsageError`.
    """

    passes: str | None = None
    """A pipeline's text; "" rewrites nothing."""
    plan: str | Path | None = None
    """The plan.json of an earlier build."""
    goal: Goal = field(default_factory=Goal)
    """Budgets, for which a plan is made."""
    evaluation: Evaluation | None = None
    """The user's own metric of a network, for a largest drop."""
    families: str | None = None
    """The rewrites that a plan may choose, as "basis, dac"; None is all of them."""
    keep: str | None = None
    """Patterns of names of convolutions that a plan leaves as they are, as "conv1, *1x1*"."""
    calib: str | Path | None = None
    """An .npz, a folder of images, or "synthetic"; None looks at the weights alone, but for a
    goal, which takes synthetic samples then."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    samples: int | None = None
    """How many samples are taken at most; None is `edgecc.calibration.samples.MOST_SAMPLES`."""
    fit: bool = True
    """Whether convolutions are fitted to the samples; those made up for INT8's ranges alone must
    not decide what becomes of the network."""
    relu_aware: bool | None = None
    """Whether to fit what a ReLU lets through; None is as the plan says, and yes."""
    prices: str | Path | None = None
    """A table of measured layer times of the target, or "model"; None is what was measured with
    such a board and backend on this machine, and the board's roofline where nothing was."""

    @classmethod
    def of(cls, **asked: Unpack[Asked]) -> Request:
        """Make a request from keywords. Errors: `edgecc.errors.UsageError`."""
        goal = Goal.parse(
            macs=asked.get("macs"),
            params=asked.get("params"),
            latency=asked.get("latency"),
            energy=asked.get("energy"),
            max_error=asked.get("max_error"),
            max_drop=asked.get("max_drop"),
        )
        evaluation = asked.get("evaluation")
        return cls(
            passes=asked.get("passes"),
            plan=asked.get("plan"),
            goal=goal,
            evaluation=None if evaluation is None else Evaluation.read(evaluation),
            families=asked.get("families"),
            keep=asked.get("keep"),
            calib=asked.get("calib"),
            preprocessing=asked.get("preprocessing") or Preprocessing(),
            samples=asked.get("samples"),
            relu_aware=asked.get("relu_aware"),
            prices=asked.get("prices"),
        )

    def __post_init__(self) -> None:
        ways = {"--passes": self.passes is not None, "--plan": self.plan is not None}
        ways["a budget"] = bool(self.goal)
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) > 1:
            raise UsageError(
                f"{given[0]} and {given[1]} exclude each other",
                hint="edit the plan, or leave one away",
            )
        if (self.goal.max_drop is None) != (self.evaluation is None):
            raise UsageError(
                "--max-drop and --eval belong together",
                hint="--max-drop 1% --eval FILE.py:FUNCTION; it takes a session and returns a "
                "number, greater is better",
            )
        if (self.families is not None or self.keep is not None) and not self.goal:
            raise UsageError(
                "--families and --keep say what a plan may choose, and no plan is asked for",
                hint="give a budget as well, as --macs 0.5; or the rewrite itself with --passes",
            )
        if self.prices is not None and not self.goal:
            raise UsageError(
                "--prices say what operators cost, and no plan is asked for that weighs them",
                hint="give a budget as well, as --latency 0.5",
            )
        if self.source is None:
            self._check_without_samples()

    def _check_without_samples(self) -> None:
        """Refuse what is about samples; a plan may name synthetic ones."""
        if self.relu_aware:
            raise UsageError(
                "looking at a ReLU takes samples", hint="give --calib, or --calib synthetic"
            )
        if self.plan is None:
            self.check_samples_are_used()

    def check_samples_are_used(self) -> None:
        """Refuse what says how samples are read, for where there are none.

        Errors: `edgecc.errors.UsageError`.
        """
        for name, given in (
            ("--image-* and --preprocess say how samples become inputs", self.preprocessing.given),
            ("--samples says how many are taken", self.samples is not None),
        ):
            if given:
                raise UsageError(
                    f"{name}, and there are no samples", hint="give --calib, or --calib synthetic"
                )

    @property
    def source(self) -> str | Path | None:
        """Where the calibration samples come from; None is that there are none."""
        return self.calib or ("synthetic" if self.goal else None)
