"""A residual network with a classifier, and samples for it."""

from __future__ import annotations

import onnx
from helpers import normal, parse
from sampled import samples

W = {
    "w0": normal(16, 4, 3, 3) / 6,
    "w1": normal(16, 16, 3, 3, seed=4) / 12,
    "w2": normal(16, 16, 3, 3, seed=5) / 12,
    "w3": normal(24, 16, 1, 1, seed=6) / 4,
    "wg": normal(24, 6) / 5,
    "b0": normal(16, seed=7) / 3,
    "b1": normal(16, seed=8) / 3,
    "b2": normal(16, seed=9) / 3,
    "b3": normal(24, seed=10) / 3,
    "bg": normal(6, seed=11) / 3,
}
X = samples(16)


def network(*left_out: str) -> onnx.ModelProto:
    """A residual network with a classifier; without the biases that are left out."""
    text = """g (float[N,4,10,10] x) => (float[A,B] y) {
        a = Conv <pads=[1,1,1,1]> (x, w0, b0)  b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, w1, b1)  d = Relu(c)
        e = Conv <pads=[1,1,1,1]> (d, w2, b2)  f = Add(e, b)  h = Relu(f)
        i = Conv(h, w3, b3)  j = Relu(i)  p = GlobalAveragePool(j)  q = Flatten(p)
        y = Gemm(q, wg, bg)
    }"""
    for name in left_out:
        text = text.replace(f", {name})", ")")
    return parse(text, {name: array for name, array in W.items() if name not in left_out})
