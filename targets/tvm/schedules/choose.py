"""A schedule for each function: loops in the order, tiles and vectors that suit the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecc.target import Core
from targets.tvm.compute.convolution import KIND
from targets.tvm.compute.shuffle import SCHEDULED
from targets.tvm.schedules.body import Body
from targets.tvm.schedules.convolution import schedule_convolution
from targets.tvm.schedules.pair import schedule_pair
from targets.tvm.schedules.winograd import schedule_winograd

SCHEDULES: dict[tuple[str, ...], Callable[..., None]] = {
    ("winograd",): schedule_winograd,
    ("on_lanes", "pointwise"): schedule_pair,
    **{(kind,): schedule_convolution for kind in ("dense", "pointwise", "on_lanes", "pool")},
}
"""By what the blocks of a function compute, in their order."""


def scheduled(function: Any, core: Core) -> Any | None:
    """Return `function` with its loops in order, or None where no schedule fits it."""
    from tvm import s_tir

    body = Body(function, core)
    blocks = body.blocks()
    anchors = [block for block in blocks if body.annotation(block, KIND) is not None]
    kinds = tuple(str(body.annotation(anchor, KIND)) for anchor in anchors)
    try:
        if kinds in SCHEDULES:
            SCHEDULES[kinds](body, *anchors)
        elif blocks and all(body.is_spatial(block) for block in blocks):
            body.moved(blocks)
        else:
            return None
    except s_tir.ScheduleError:
        return None
    return body.schedule.mod["main"].with_attr(SCHEDULED, True)
