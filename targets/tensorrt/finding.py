"""What stands between a model and a TensorRT: data for reports, and the refusal made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecc.errors import BuildError


@dataclass(frozen=True)
class Finding:
    """One node, or the whole model, that a TensorRT or a DLA cannot take as it is."""

    node: str
    """Its name, or its first output's; "" for the whole model."""
    operator: str
    reason: str
    """What its reader does not do, as said of the reader: "has no GridSample"."""
    hint: str | None = None
    fatal: bool = True
    """Whether no engine can be built; a finding else is told and nothing more."""


def refuse(findings: Sequence[Finding], reader: str) -> None:
    """Raise the first fatal finding, where there is one.

    `reader` is the sentence it completes: "xavier runs TensorRT 8.2".
    Errors: `edgecc.errors.BuildError` with the node, the reason, the next step and how many
    more there are.
    """
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return
    first = fatal[0]
    where = f" (node '{first.node}')" if first.node else ""
    others = len(fatal) - 1
    nodes = "node" if others == 1 else "nodes"
    more = f"; {others} more {nodes} cannot be built either" if others else ""
    raise BuildError(f"{reader}, which {first.reason}{where}{more}", hint=first.hint)
