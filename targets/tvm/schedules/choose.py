"""A schedule for each function: loops in the order, tiles and vectors that suit the core."""

from __future__ import annotations

from typing import Any

from targets.tvm.core import Core
from targets.tvm.schedules.body import Body
from targets.tvm.schedules.convolution import schedule_convolution

KIND = "edgecc.kind"


def scheduled(function: Any, core: Core) -> Any | None:
    """Return `function` with its loops in order, or None where no schedule fits it."""
    body = Body(function, core)
    for block in body.blocks():
        kind = body.annotation(block, KIND)
        if kind is not None:
            schedule_convolution(body, block)
            return body.schedule.mod["main"].with_attr("tirx.is_scheduled", True)
    return None
