"""How many singular values to keep: a rank as given, or the smallest that keeps an energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.conv import Refusal
from edgecc.errors import UsageError

DEFAULT_ENERGY = 0.9


@dataclass(frozen=True)
class Choice:
    """A rank, and the share of the energy that it gives up."""

    rank: int
    error: float


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


def choose_rank(
    spectrum: npt.NDArray[Any],
    *,
    rank: int | None,
    energy: float | None,
    macs_per_rank: int,
    macs: int,
) -> Choice | Refusal:
    """Choose how many of the `spectrum` (squared singular values, decreasing) to keep.

    A given `rank` is followed even where it costs more than the `macs` of the dense convolution
    (it was asked for; the report shows it), cut to the full rank. An `energy` is refused there.
    Rule: Tayyab et al., ICIP 2021, official code `get_basis_channels_from_t`.
    """
    full = len(spectrum)
    total = float(spectrum.sum())
    kept = np.cumsum(spectrum) / total if total > 0 else np.ones(full)
    if rank is None:
        wanted = DEFAULT_ENERGY if energy is None else energy
        rank = min(int(np.searchsorted(kept, wanted * (1 - 1e-12))) + 1, full)
        if rank * macs_per_rank >= macs:
            return Refusal(
                f"keeping {wanted:.4g} of its energy takes rank {rank} of {full}, "
                f"{rank * macs_per_rank / macs:.2f} times its multiply-adds"
            )
    rank = min(rank, full)
    return Choice(rank, 0.0 if rank == full else max(0.0, 1.0 - float(kept[rank - 1])))


def check_rank_options(name: str, rank: int | None, energy: float | None) -> None:
    """Refuse ranks and energies that mean nothing. Errors: `edgecc.errors.UsageError`."""
    if rank is not None and energy is not None:
        raise UsageError(f"{name} takes a rank or an energy, not both")
    if rank is not None and rank < 1:
        raise UsageError(f"{name}(rank={rank}) keeps nothing", hint="the smallest rank is 1")
    if energy is not None and not 0 < energy <= 1:
        raise UsageError(f"{name}(energy={energy}): an energy lies above 0 and up to 1")
