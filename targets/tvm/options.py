"""What the user says about the lowering, and whom it tells what it is at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edgecc.target import Tell


@dataclass(frozen=True)
class Options:
    """What holds for every function of a network."""

    winograd: bool = True
    """Whether convolutions may be computed by minimal filtering, whose error is larger."""
    tuned: Callable[[Any], Any] | None = None
    """Given the functions before they are scheduled, it returns them with other tiles."""
    tell: Tell = lambda text: None
    """Called with what is being worked on."""

    def within(self, part: str) -> Options:
        """Return the options for a `part` of the network, which is told of by its name."""
        return replace(self, tell=lambda text: self.tell(f"{part}: {text}"))


USUAL = Options()
