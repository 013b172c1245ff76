"""The window of a convolution or pooling: where it reads, and what its outputs count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PADDED = "padded"


@dataclass(frozen=True)
class Window:
    """Sizes along height and width."""

    taps: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""

    @classmethod
    def of(cls, attrs: Any, taps: Any) -> Window:
        """Read what a convolution or pooling of Relax says beside its `taps`."""
        strides, dilations, pads = (
            tuple(int(size) for size in found)
            for found in (attrs.strides, attrs.dilation, attrs.padding)
        )
        return cls(tuple(taps), strides, dilations, pads)  # type: ignore[arg-type]

    @property
    def pointwise(self) -> bool:
        """Whether each output reads one input of each channel."""
        return self.taps == (1, 1) and not any(self.pads)

    def reach(self, axis: int, outputs: int) -> int:
        """Return how many padded inputs so many outputs read."""
        last = (outputs - 1) * self.strides[axis]
        return last + self.dilations[axis] * (self.taps[axis] - 1) + 1

    def outputs(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of what is computed from such a map."""
        top, left, bottom, right = self.pads
        rows = (height + top + bottom - self.reach(0, 1)) // self.strides[0] + 1
        return rows, (width + left + right - self.reach(1, 1)) // self.strides[1] + 1

    def padded(self, x: Any, rows: int, columns: int, value: float = 0.0) -> Any:
        """Return `x` (N, blocks, H, W, lanes or none) with all that so many outputs read."""
        from tvm import te, tirx

        top, left = self.pads[:2]
        height, width = int(x.shape[2]), int(x.shape[3])
        high = self.reach(0, rows)
        wide = self.reach(1, columns)
        if (top, left) == (0, 0) and high <= height and wide <= width:
            return x

        def body(n: Any, o: Any, y: Any, z: Any, *lane: Any) -> Any:
            checks = [
                *([y >= top] if top else []),
                *([y < top + height] if high > top + height else []),
                *([z >= left] if left else []),
                *([z < left + width] if wide > left + width else []),
            ]
            inside = x[(n, o, y - top, z - left, *lane)]
            if not checks:
                return inside
            return tirx.if_then_else(tirx.all(*checks), inside, tirx.const(value, x.dtype))

        return te.compute((x.shape[0], x.shape[1], high, wide, *x.shape[4:]), body, name=PADDED)
