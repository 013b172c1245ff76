"""What is closed when the `with` block that it was opened in ends."""

from __future__ import annotations

from abc import ABC
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Closing(ABC):  # noqa: B024  (what derives from it has them)
    """A thing that holds something, to be used in a `with` block."""

    def close(self) -> None:  # noqa: B027  (most hold nothing to release)
        """Release what it holds; using it afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
