"""A layer of a network that is being rewritten: what goes in there, and what should come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecc.calibration.moments import Moments
from edgecc.calibration.patches import Sampler, wanted
from edgecc.calibration.relu import Sample
from edgecc.calibration.store import Batches
from edgecc.calibration.targets import Rectified
from edgecc.conv import Array, Conv

PER_SIZE = 30
SAMPLE_BYTES = 200_000_000
"""What a ReLU is looked at with: so many patches for each number in one, in so much memory."""


@dataclass(frozen=True)
class Site:
    """A layer that is being rewritten: what it is fed now, and what it should put out."""

    node: ir.Node
    conv: Conv
    inputs: Batches
    targets: Batches | None
    """None where its input and its target are the network's own: then it is itself the target."""
    passed: Array | None = None
    """(O,) the share of positions at which what follows lets each output through; None is 1, and
    where no rewrite asks.
    """
    rectified: Rectified | None = None
    """Where a ReLU follows and is looked at."""

    def observed(self) -> tuple[Moments, Sample | None]:
        """The moments of what goes in, and of the targets; where a ReLU is looked at, some of the
        patches too.
        """
        conv, rectified = self.conv, self.rectified
        targets = [] if self.targets is None else [self.targets]
        moments = Moments(conv, targets=bool(targets))
        if rectified is None:
            for part in Sampler(conv).over(self.inputs, *targets):
                moments.add(*part)
            return moments, None
        outputs = [rectified.totals]
        outputs += [] if rectified.shortcut is None else [rectified.shortcut]
        most = _looked_at(conv)
        sampler = Sampler(conv, max(most, wanted(conv.patch_size)))
        taken, kept = _Share(most / sampler.count(self.inputs)), []
        for patches, *rows in sampler.over(self.inputs, *targets, *outputs):
            moments.add(patches, *rows[: len(targets)])
            some = taken.of(len(patches))
            kept.append([part[some] for part in (patches, *rows[len(targets) :])])
        patches, totals, *shortcut = (np.concatenate(part) for part in zip(*kept, strict=True))
        patches -= moments.mean().astype(patches.dtype)
        centred = np.ascontiguousarray(patches.transpose(1, 0, 2))
        return moments, Sample(centred, totals, shortcut[0] if shortcut else None)


class _Share:
    """An even scatter of a share of what comes, the same in every run."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._random = np.random.default_rng(0)

    def of(self, there: int) -> Array | slice:
        if self._share >= 1:
            return slice(None)
        count = max(1, round(self._share * there))
        return np.sort(self._random.choice(there, count, replace=False))


def _looked_at(conv: Conv) -> int:
    """How many patches a ReLU is looked at with."""
    size = conv.patch_size * conv.groups
    return min(PER_SIZE * size, SAMPLE_BYTES // (4 * size))
