"""How much to keep: a rank as given, or the smallest that keeps an energy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgecc.calibration.statistics import Statistics
from edgecc.conv import Conv, Refusal
from edgecc.errors import UsageError
from edgecc.layers import dense, nominal_sizes
from edgecc.rewrite import ConvRewrite

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_ENERGY = 0.9
FEW_CHANNELS = 4
"""Input channels of a first convolution: an image's, with transparency."""
CHOICES = 12


@dataclass(frozen=True)
class RankRewrite(ConvRewrite):
    """A rewrite whose cost and exactness grow with a rank.

    A given `rank` is followed everywhere, even where it costs more than the dense convolution: it
    was asked for, and the report shows it. An `energy` is followed where it pays.
    """

    rank: int | None = None
    """How many to keep; more than there can be is as many as there can be."""
    energy: float | None = None
    """The share of the energy to keep (0 to 1); the smallest rank that does is taken."""
    at_most: float = 1.0
    """With an energy: the largest share of the multiply-adds at which a rewrite is worth it."""

    def __post_init__(self) -> None:
        if self.rank is not None and self.energy is not None:
            raise UsageError(
                f"{self.name} takes a rank or an energy, not both", hint="leave one away"
            )
        if self.rank is not None and self.rank < 1:
            raise UsageError(f"{self} keeps nothing", hint="the smallest rank is 1")
        for option in ("energy", "at_most"):
            share = getattr(self, option)
            if share is not None and not 0 < share <= 1:
                raise UsageError(f"{self}: {option} lies above 0 and up to 1")

    @abstractmethod
    def full_rank(self, conv: Conv) -> int:
        """Return the rank at which the rewrite is exact."""

    def curve(self, conv: Conv, statistics: Statistics) -> Sequence[float] | None:
        """Return the errors at ranks 1, 2, ... where one decomposition gives them all."""
        return None

    def errors(
        self, conv: Conv, statistics: Statistics, choices: Sequence[RankRewrite]
    ) -> list[float]:
        """Return the error of each choice."""
        curve = self.curve(conv, statistics)
        if curve is None:
            return super().errors(conv, statistics, choices)
        return [curve[min(choice.rank or 1, len(curve)) - 1] for choice in choices]

    def granule_of_rank(self, granule: int) -> int:
        """Return the step between the ranks worth trying on a target with this granule."""
        return granule

    def at(self, rank: int) -> Self:
        """Return the rewrite settled at a rank."""
        return replace(self, rank=rank, energy=None, at_most=1.0)

    def share(self, conv: Conv) -> float:
        """Return the share of the dense convolution's multiply-adds, settled."""
        sizes = nominal_sizes(conv)
        macs = sum(layer.macs for layer in self.layers(conv, sizes))
        return macs / sum(layer.macs for layer in dense(conv, sizes))

    def choices(self, conv: Conv, granule: int) -> Sequence[Self]:
        """Return ranks that save multiply-adds, evenly spread, the smallest first."""
        step = self.granule_of_rank(granule)
        ranks = range(step, self.full_rank(conv) + 1, step)
        saving = [rank for rank in ranks if self.at(rank).share(conv) < 1]
        thinned = saving[:: -(-len(saving) // CHOICES)] if saving else []
        return [self.at(rank) for rank in thinned]

    def settle(self, conv: Conv, statistics: Statistics) -> Self | Refusal:
        """Settle the rank for `conv`, or refuse it."""
        full = self.full_rank(conv)
        if self.rank is not None:
            return self.at(min(self.rank, full))
        if conv.weight.shape[1] <= FEW_CHANNELS and conv.groups == 1:
            # Its inputs are so alike that the energy of its weights says nothing of its output.
            # On the example, an energy of 0.9 leaves 46 % of the images right with the first
            # convolution rewritten, and 93 % without.
            return Refusal(f"it reads {conv.in_channels} channels only; give a rank to insist")
        energy = DEFAULT_ENERGY if self.energy is None else self.energy
        rank, error = self._rank_for_energy(conv, statistics, energy)
        if error > 1 - energy + 1e-9:
            return Refusal(f"no rank keeps {energy:.4g} of its energy")
        share = self.at(rank).share(conv)
        if share >= 1 or share > self.at_most:
            return Refusal(
                f"keeping {energy:.4g} of its energy takes rank {rank} of {full}, "
                f"{share:.2f} times its multiply-adds"
            )
        return self.at(rank)

    def _rank_for_energy(
        self, conv: Conv, statistics: Statistics, energy: float
    ) -> tuple[int, float]:
        """The smallest rank that keeps the energy, and its error, which falls with the rank.

        Rule: Tayyab et al., ICIP 2021, official code `get_basis_channels_from_t`.
        """
        curve = self.curve(conv, statistics)
        low, high, found = 1, self.full_rank(conv), None

        def error(rank: int) -> float:
            return curve[rank - 1] if curve else self.at(rank).project(conv, statistics).error

        while low < high:
            middle = (low + high) // 2
            lost = error(middle)
            if lost <= (1 - energy) + 1e-12:
                high, found = middle, lost
            else:
                low, found = middle + 1, None
        return low, error(low) if found is None else found
