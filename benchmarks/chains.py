"""A convolution as a chain of smaller ones, which tensorly finds by Tucker-2 or CP.

- Tucker-2: `partial_tucker` over the channels, both ranks the same share of their width.
- CP: `parafac`, then 1x1, KHx1 and 1xKW depthwise, 1x1. The rank of every convolution buys the same
  share of its multiply-adds. One start (random_state=0), at most 200 sweeps; where it starts
  matters: four starts give 80 to 90 % on resnet20 at half the multiply-adds, and 0 the best.

Paper: "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
Applications" (ICLR 2016) for Tucker-2, there with ranks by VBMF and fine-tuning; "Speeding-up
Convolutional Neural Networks Using Fine-tuned CP-Decomposition" (ICLR 2015) for CP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx

SWEEPS = 200


@dataclass(frozen=True)
class Convolution:
    """A dense convolution with a kernel wider than 1x1, and where it stands."""

    node: onnx.NodeProto
    weight: np.ndarray  # (O, I, KH, KW)
    before: tuple[int, int]  # height and width of its input
    after: tuple[int, int]  # height and width of its output

    def macs(self) -> int:
        """Multiply-adds as it is."""
        return self.weight.size * math.prod(self.after)

    def attribute(self, name: str, default: list[int]) -> list[int]:
        """Return an attribute that is a list."""
        return next((list(a.ints) for a in self.node.attribute if a.name == name), default)


@dataclass(frozen=True)
class Piece:
    """One convolution of a chain; what it does not say is 1x1 and dense."""

    weight: np.ndarray
    strides: list[int] = field(default_factory=lambda: [1, 1])
    pads: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    dilations: list[int] = field(default_factory=lambda: [1, 1])
    group: int = 1


class Tucker2:
    """1x1 to the input rank, the kernel between the ranks, 1x1 from the output rank."""

    @staticmethod
    def ranks(conv: Convolution, share: float) -> tuple[int, int]:
        """The output and the input rank, each `share` of its width."""
        return max(1, int(share * conv.weight.shape[0])), max(1, int(share * conv.weight.shape[1]))

    def step(self, conv: Convolution) -> float:
        """The share that is worth one rank."""
        return 1 / min(conv.weight.shape[:2])

    def macs(self, conv: Convolution, share: float) -> int:
        """Multiply-adds of the chain."""
        (o, i), (outer, inner) = conv.weight.shape[:2], self.ranks(conv, share)
        kernel = inner * outer * math.prod(conv.weight.shape[2:])
        return i * inner * math.prod(conv.before) + (kernel + outer * o) * math.prod(conv.after)

    def pieces(self, conv: Convolution, share: float) -> list[Piece]:
        """Decompose."""
        from tensorly.decomposition import partial_tucker

        weight = conv.weight.astype(np.float64)
        ranks = list(self.ranks(conv, share))
        (core, (out, into)), _ = partial_tucker(
            weight, ranks, modes=[0, 1], n_iter_max=SWEEPS, tol=1e-7
        )
        strides, pads = conv.attribute("strides", [1, 1]), conv.attribute("pads", [0] * 4)
        kernel = Piece(core, strides, pads, conv.attribute("dilations", [1, 1]))
        return [Piece(into.T[:, :, None, None]), kernel, Piece(out[:, :, None, None])]


class Cp:
    """1x1 to the rank, KHx1 and 1xKW depthwise, 1x1 from the rank."""

    @staticmethod
    def one(conv: Convolution) -> int:
        """Multiply-adds of one rank."""
        o, i, kh, kw = conv.weight.shape
        upright = kh * conv.after[0] * conv.before[1]
        return i * math.prod(conv.before) + upright + (kw + o) * math.prod(conv.after)

    def rank(self, conv: Convolution, share: float) -> int:
        """The rank that `share` of the convolution's multiply-adds buys."""
        return max(1, int(share * conv.macs() / self.one(conv)))

    def step(self, conv: Convolution) -> float:
        """The share that is worth one rank."""
        return self.one(conv) / conv.macs()

    def macs(self, conv: Convolution, share: float) -> int:
        """Multiply-adds of the chain."""
        return self.rank(conv, share) * self.one(conv)

    def pieces(self, conv: Convolution, share: float) -> list[Piece]:
        """Decompose."""
        import tensorly
        from tensorly.decomposition import parafac

        tensorly.tenalg.register_backend_method("unfolding_dot_khatri_rao", contracted)
        tensorly.tenalg.use_dynamic_dispatch()
        rank = self.rank(conv, share)
        weight = conv.weight.astype(np.float32)
        _, (out, into, high, wide) = parafac(
            weight, rank, n_iter_max=SWEEPS, tol=1e-6, random_state=0
        )
        sh, sw = conv.attribute("strides", [1, 1])
        top, left, bottom, right = conv.attribute("pads", [0] * 4)
        dh, dw = conv.attribute("dilations", [1, 1])
        upright, flat = high.T[:, None, :, None], wide.T[:, None, None, :]
        return [
            Piece(into.T[:, :, None, None]),
            Piece(upright, [sh, 1], [top, 0, bottom, 0], [dh, 1], rank),
            Piece(flat, [1, sw], [0, left, 0, right], [1, dw], rank),
            Piece(out[:, :, None, None]),
        ]


def contracted(
    tensor: np.ndarray, cp: tuple[np.ndarray, list[np.ndarray]], mode: int
) -> np.ndarray:
    """What tensorly asks of a sweep, factor by factor, the widest first.

    The same sums as tensorly's own, which forms a Khatri-Rao product of 100 MB for 128 channels.
    """
    weights, factors = cp
    left = list(range(tensor.ndim))
    for other in sorted({*left} - {mode}, key=lambda m: -tensor.shape[m]):
        moved = np.moveaxis(tensor, left.index(other), len(left) - 1)
        if len(left) == len(factors):
            flat = moved.reshape(-1, moved.shape[-1]) @ factors[other]
            tensor = flat.reshape(*moved.shape[:-1], -1)
        else:
            tensor = (moved * factors[other]).sum(axis=-2)
        left.remove(other)
    return tensor * weights
