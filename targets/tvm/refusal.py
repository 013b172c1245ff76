"""What TVM cannot take of a network, and where it can run instead."""

from __future__ import annotations

from collections.abc import Iterable

from edgecc.errors import BuildError

ELSEWHERE = (
    "--fallback runs in onnxruntime what TVM cannot take, --backend onnxruntime the whole network"
)


class NotInTvmError(BuildError):
    """TVM cannot take some of the model: another runtime may. `nodes` names them, if known."""

    def __init__(self, message: str, *, nodes: Iterable[str] = (), hint: str = ELSEWHERE) -> None:
        super().__init__(message, hint=hint)
        self.nodes = tuple(nodes)
