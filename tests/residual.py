"""A network with one residual sum, samples for it, and what became of it."""

from __future__ import annotations

from typing import Any

from helpers import normal, parse
from sampled import samples

W = {
    "w0": normal(12, 4, 3, 3) / 6,
    "w1": normal(12, 12, 3, 3, seed=4) / 10,
    "w2": normal(8, 12, 3, 3, seed=5) / 10,
    "b0": normal(12, seed=7) / 3,
    "b1": normal(12, seed=8) / 3,
    "b2": normal(8, seed=9) / 3,
}
NETWORK = parse(
    """g (float[N,4,10,10] x) => (float[A,B,C,D] y) {
        a = Conv <pads=[1,1,1,1]> (x, w0, b0)  b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, w1, b1)  d = Add(c, b)  e = Relu(d)
        y = Conv <pads=[1,1,1,1]> (e, w2, b2)
    }""",
    W,
)
X = samples(24)
FAMILIES = "basis, spatial_svd"


def decided(report: dict[str, Any]) -> dict[str, str | None]:
    """The family of each convolution."""
    return {entry["convolution"]: entry["family"] for entry in report["decisions"]}
