"""How many singular values to keep: a rank as given, or the smallest that keeps an energy."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.conv import Conv, Refusal
from edgecc.errors import UsageError
from edgecc.rewrite import ConvRewrite, Fit

DEFAULT_ENERGY = 0.9
FEW_CHANNELS = 4
"""Input channels of a first convolution: an image's, with transparency."""


@dataclass(frozen=True)
class RankRewrite(ConvRewrite):
    """A rewrite that keeps some of a convolution's singular values.

    A given `rank` is followed everywhere, even where it costs more than the dense convolution: it
    was asked for, and the report shows it. An `energy` is followed where it pays.
    """

    rank: int | None = None
    """How many to keep; more than there can be is as many as there can be."""
    energy: float | None = None
    """The share of the weights' energy to keep (0 to 1); the smallest rank that does is taken."""
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
    def spectrum(self, conv: Conv) -> npt.NDArray[Any] | Refusal:
        """Return the squared singular values that a rank keeps the first of, decreasing."""

    @abstractmethod
    def macs_per_rank(self, conv: Conv) -> int:
        """Return the multiply-adds for one output position that each rank costs."""

    def fit(self, conv: Conv) -> Fit | Refusal:
        """Settle the rank for `conv`, or refuse it."""
        spectrum = self.spectrum(conv)
        if isinstance(spectrum, Refusal):
            return spectrum
        kept = _kept(spectrum)
        full = len(kept)
        rank = self.rank
        if rank is None:
            chosen = self._rank_for_energy(conv, kept)
            if isinstance(chosen, Refusal):
                return chosen
            rank = chosen
        rank = min(rank, full)
        error = 0.0 if rank == full else max(0.0, 1.0 - float(kept[rank - 1]))
        return Fit(replace(self, rank=rank, energy=None, at_most=1.0), error)

    def _rank_for_energy(self, conv: Conv, kept: npt.NDArray[Any]) -> int | Refusal:
        """The smallest rank that keeps the energy.

        Rule: Tayyab et al., ICIP 2021, official code `get_basis_channels_from_t`. A convolution
        that reads an image is left alone: its inputs are so alike that the energy of its weights
        says nothing of its output. On the example, an energy of 0.9 leaves 46 % of the images
        right with the first convolution rewritten, and 93 % without.
        """
        if conv.weight.shape[1] <= FEW_CHANNELS and conv.groups == 1:
            return Refusal(f"it reads {conv.in_channels} channels only; give a rank to insist")
        energy = DEFAULT_ENERGY if self.energy is None else self.energy
        rank = min(int(np.searchsorted(kept, energy * (1 - 1e-12))) + 1, len(kept))
        share = rank * self.macs_per_rank(conv) / conv.macs_per_position
        if share >= 1 or share > self.at_most:
            return Refusal(
                f"keeping {energy:.4g} of its energy takes rank {rank} of {len(kept)}, "
                f"{share:.2f} times its multiply-adds"
            )
        return rank


def _kept(spectrum: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The share of the energy that each rank keeps; weights of zero are kept by any."""
    total = float(spectrum.sum())
    kept: npt.NDArray[Any] = np.cumsum(spectrum) / total if total > 0 else np.ones(len(spectrum))
    return kept


def energies(matrices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the squared singular values of a stack of matrices (N, rows, columns), summed over
    the stack: (min(rows, columns),), decreasing.

    From the smaller Gram matrix, which is several times cheaper than singular values.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    transposed = matrices.transpose(0, 2, 1)
    gram = matrices @ transposed if wide else transposed @ matrices
    found: npt.NDArray[Any] = np.maximum(np.linalg.eigvalsh(gram).sum(axis=0)[::-1], 0.0)
    return found
