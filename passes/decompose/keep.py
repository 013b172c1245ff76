"""How many input channels to keep: the option, its choices, and their errors from one elimination.

Shared by channel_prune and msgc.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgecc.calibration.statistics import Block, Statistics
from edgecc.conv import Array, Conv, Refusal
from edgecc.errors import UsageError
from edgecc.rewrite import ConvRewrite

if TYPE_CHECKING:
    from typing_extensions import Self

EIGHTHS = range(1, 8)
FAST = 8
"""So much faster are large products than what else the time of a search is counted in."""


@dataclass(frozen=True)
class KeepRewrite(ConvRewrite):
    """A rewrite whose cost and exactness grow with the number of input channels that it keeps."""

    keep: int | None = None
    """How many channels to keep, of each group; more than there are is as many as there are."""

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise UsageError(f"{self} keeps nothing", hint="the smallest keep is 1")

    @abstractmethod
    def lost(self, block: Block, least: int, most: int) -> Array:
        """Return the energy lost (most - least + 1,) by keeping `least`, ..., `most` channels."""

    def settle(self, conv: Conv, statistics: Statistics) -> Self | Refusal:
        """Cut `keep` to the channels that there are.

        Errors: `edgecc.errors.UsageError` where it was left open.
        """
        if self.keep is None:
            raise UsageError(
                f"{self.name} does not know how many channels to keep",
                hint=f"write {self.name}(keep={max(1, conv.weight.shape[1] // 2)})",
            )
        return replace(self, keep=min(self.keep, int(conv.weight.shape[1])))

    def choices(self, conv: Conv, granule: int) -> Sequence[Self]:
        """Return multiples of `granule` near 1/8 to 7/8 of the channels, the fewest first."""
        if self.refuse(conv) is not None:
            return []
        channels = int(conv.weight.shape[1])
        keeps = {round(channels * share / 8 / granule) * granule for share in EIGHTHS}
        return [replace(self, keep=keep) for keep in sorted(keeps) if 0 < keep < channels]

    def effort(self, conv: Conv) -> float:
        """The inverse, and what every channel that goes changes in it: in large products."""
        return conv.patch_size**3 / FAST * conv.groups

    def errors(
        self, conv: Conv, statistics: Statistics, choices: Sequence[KeepRewrite]
    ) -> list[float]:
        """Return the error of each choice; fewer channels are some of more, so one way down
        serves them all.
        """
        if not choices:
            return []
        keeps = np.minimum([choice.keep or 1 for choice in choices], conv.weight.shape[1])
        least, most = int(keeps.min()), int(keeps.max())
        lost, energy = np.zeros(len(keeps)), 0.0
        for block in statistics.blocks(conv):
            lost += self.lost(block, least, most)[keeps - least]
            energy += block.energy(block.weight)
        return [float(error) for error in lost / (energy or 1.0)]

    def keeps_all(self, channels: int) -> bool:
        """Whether nothing is left out, settled."""
        return self.keep is not None and self.keep >= channels


def across_groups(channels: Array, size: int) -> Array:
    """Channel numbers of the whole tensor from those within each group (G, ...) of `size`."""
    groups = len(channels)
    offsets = np.arange(groups)[:, None] * size
    found: Array = (offsets + channels.reshape(groups, -1)).ravel()
    return found
