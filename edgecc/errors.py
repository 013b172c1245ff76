"""What can go wrong, and the exit code each kind of failure ends the command line with.

    EdgeccError            1   internal: a fault of edgecc itself
      UsageError           2   an option, a pass text or a plan that cannot be followed
      ModelError           3   the model (or a bundle) is broken, hostile or unsupported
      DeviceError          4   the device cannot be reached or is not what it should be
      BuildError           5   the model is fine, but lowering it for the target failed
      BudgetError          6   no network within the budget the user set
      UnstableError        7   a measurement that cannot be trusted

A message says what failed, on which thing, with the numbers; `hint` is the next step.
A pass that does not fit a convolution is not an error but a `edgecc.conv.Refusal`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


class EdgeccError(Exception):
    """A failure that is told to the user without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class UsageError(EdgeccError):
    """An option, a pass text or a plan that cannot be followed."""

    exit_code = 2


class ModelError(EdgeccError):
    """The model, or a bundle made from one, is broken, hostile or unsupported."""

    exit_code = 3


class DeviceError(EdgeccError):
    """The device cannot be reached or is not what it should be."""

    exit_code = 4


class BuildError(EdgeccError):
    """Lowering a sound model for the target failed."""

    exit_code = 5


class BudgetError(EdgeccError):
    """No network lies within the budget that the user set."""

    exit_code = 6


class UnstableError(EdgeccError):
    """A measurement that cannot be trusted."""

    exit_code = 7


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint for a mistyped `word`: its nearest neighbour, or all that is known."""
    names = sorted(known)
    if close := difflib.get_close_matches(word, names, n=1):
        return f"did you mean {close[0]}?"
    if len(names) == 1:
        return f"there is only {names[0]}"
    return f"there are {', '.join(names) or 'none'}"
