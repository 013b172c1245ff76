"""Following a session as the host does, up to the error that ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Event = dict[str, Any]


def follow(
    came: Iterable[Event], events: list[Event], then: Callable[[Event], object] = lambda event: None
) -> None:
    """Keep every event in `events`, and do something at each."""
    for event in came:
        events.append(event)
        then(event)


def of(events: list[Event], kind: str) -> list[Event]:
    """Return the events of a kind."""
    return [event for event in events if event["event"] == kind]
