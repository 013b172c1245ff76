"""How long each stage of a build takes, and who is told that it begins."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Progress = Callable[[str], None]
"""Called with the name of each stage as it begins, and with "stage: what it is at"."""


@dataclass
class Clock:
    """Seconds by stage."""

    tell: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    now: str = ""

    def detail(self, text: str) -> None:
        """Tell what the stage is at."""
        self.tell(f"{self.now}: {text}")

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and tell that it begins."""
        self.now = name
        self.tell(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 4)
