"""How a network is to be lowered, as a user says it: the backend, and what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgecc import catalog
from edgecc.target import Backend, EngineWish, Target, Tell


@dataclass(frozen=True)
class Lowering:
    """The options of a build that are about its backend; what is None is the target's choice."""

    backend: str | None = None
    fallback: bool = False
    """Whether onnxruntime runs what the backend cannot take."""
    winograd: bool = True
    tune: int | str | Path | None = None
    """A number of trials on the device, or a file of what was measured there."""
    rpc: str | None = None
    """Where the device's TVM RPC server is, host:port."""
    engine: EngineWish = field(default_factory=EngineWish)

    def settle(self, board: Target, tell: Tell) -> Backend:
        """Return the backend, with all that was asked of it.

        Errors: `edgecc.errors.UsageError` for what it cannot do, and its own.
        """
        backend = catalog.backend(self.backend or board.backend, board)
        backend = backend.with_fallback() if self.fallback else backend
        backend = backend if self.winograd else backend.without_winograd()
        backend = backend.with_engine(board, self.engine)
        return catalog.tuned(backend, board, self.tune, self.rpc, tell)
