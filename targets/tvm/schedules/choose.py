"""A schedule for each function: loops in the order, tiles and vectors that suit the core."""

from __future__ import annotations

from typing import Any

from edgecc.target import Core
from targets.tvm.compute.convolution import KIND
from targets.tvm.schedules.body import Body
from targets.tvm.schedules.convolution import schedule_convolution
from targets.tvm.schedules.pair import schedule_pair
from targets.tvm.schedules.winograd import schedule_winograd

SCHEDULES = {"winograd": schedule_winograd}


def scheduled(function: Any, core: Core) -> Any | None:
    """Return `function` with its loops in order, or None where no schedule fits it."""
    body = Body(function, core)
    blocks = body.blocks()
    anchors = [block for block in blocks if body.annotation(block, KIND) is not None]
    if len(anchors) == 1:
        kind = str(body.annotation(anchors[0], KIND))
        SCHEDULES.get(kind, schedule_convolution)(body, anchors[0])
    elif [str(body.annotation(anchor, KIND)) for anchor in anchors] == ["on_lanes", "pointwise"]:
        schedule_pair(body, *anchors)
    elif blocks and all(body.is_spatial(block) for block in blocks):
        for block in blocks[:-1]:
            if body.schedule.get_consumers(block):
                body.schedule.compute_inline(block)
            else:
                body.injective(block)
        body.injective(blocks[-1])
    else:
        return None
    return body.schedule.mod["main"].with_attr("tirx.is_scheduled", True)
