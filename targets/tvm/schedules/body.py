"""A function's blocks, and the steps that every schedule takes with them."""

from __future__ import annotations

import math
from typing import Any

from edgecc.target import Core

SHARED = 4096
"""Vectors to compute that make up for starting the other cores (some microseconds)."""


class Body:
    """One function under a schedule."""

    def __init__(self, function: Any, core: Core) -> None:
        import tvm
        from tvm import s_tir

        self.core = core
        self.schedule = s_tir.Schedule(tvm.IRModule({"main": function}))

    def blocks(self) -> list[Any]:
        """Return the function's blocks in the order in which they are computed.

        There are none where the function is made of loops alone, as a cumulative sum.
        """
        from tvm import s_tir

        try:
            root = self.schedule.get_sblock("root")
        except s_tir.ScheduleError:
            return []
        return list(self.schedule.get_child_blocks(root))

    def name(self, block: Any) -> str:
        """Return the name that the tensor expression gave."""
        return str(self.schedule.get(block).name_hint)

    def annotation(self, block: Any, key: str) -> Any:
        """Return what the tensor expression says under `key`, None where it says nothing."""
        return self.schedule.get(block).annotations.get(key)

    def is_spatial(self, block: Any) -> bool:
        """Whether each number is computed once, none of them summed up."""
        return all(int(axis.iter_type) == 0 for axis in self.schedule.get(block).iter_vars)

    def is_wider(self, block: Any, other: Any) -> bool:
        """Whether `block` computes more numbers than `other` along one of their common axes."""
        extents = [
            [int(axis.dom.extent) for axis in self.schedule.get(found).iter_vars]
            for found in (block, other)
        ]
        return any(ours > theirs for ours, theirs in zip(*extents, strict=False))

    def consumer(self, block: Any) -> Any:
        """Return the one block that reads `block`."""
        (found,) = self.schedule.get_consumers(block)
        return found

    def inline_after(self, anchor: Any) -> Any | None:
        """Inline everything between `anchor` and the function's last block; return that."""
        blocks = self.blocks()
        at = [self.name(block) for block in blocks].index(self.name(anchor))
        behind = blocks[at + 1 :]
        for block in behind[:-1]:
            self.schedule.compute_inline(block)
        return behind[-1] if behind else None

    def before(self, anchor: Any) -> list[Any]:
        """Return the blocks computed before `anchor`, as padding."""
        blocks = self.blocks()
        at = [self.name(block) for block in blocks].index(self.name(anchor))
        return blocks[:at]

    def moved(self, blocks: list[Any]) -> None:
        """Schedule a function that computes number by number: as few loop nests as there can be."""
        for block in blocks[:-1]:
            if self.schedule.get_consumers(block):
                self.schedule.compute_inline(block)
            else:
                self.injective(block)
        self.injective(blocks[-1])

    def injective(self, block: Any) -> None:
        """Outer loops in parallel, the last one as vectors."""
        schedule = self.schedule
        *outer, lane = schedule.get_loops(block)
        extent = int(schedule.get(lane).extent)
        if extent <= self.core.lanes:
            schedule.vectorize(lane)
        elif extent % self.core.lanes == 0:
            more, lane = schedule.split(lane, [None, self.core.lanes])
            schedule.vectorize(lane)
            outer = [*outer, more]
        if len(outer) > 1:
            self.shared(schedule.fuse(*outer[:-1]), block)

    def shared(self, loop: Any, block: Any) -> None:
        """Let cores share `loop`, in which `block` is computed, where there is enough to do."""
        extents = [int(axis.dom.extent) for axis in self.schedule.get(block).iter_vars]
        if math.prod(extents) >= SHARED * self.core.lanes:
            self.schedule.parallel(loop)

    def copied_at(self, block: Any, loop: Any) -> None:
        """Compute `block` inside `loop`, as much of it as is needed there."""
        self.schedule.compute_at(block, loop, preserve_unit_loops=True)
        self.schedule.vectorize(self.schedule.get_loops(block)[-1])

    def unrolled(self, loops: list[Any]) -> None:
        """Unroll all of `loops` but the last, which becomes a vector."""
        *outer, lane = loops
        for loop in outer:
            self.schedule.unroll(loop)
        self.schedule.vectorize(lane)
