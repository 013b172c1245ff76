"""A classifier with BatchNorm, as it comes from training."""

from __future__ import annotations

import numpy as np
from helpers import normal, parse

NETWORK = parse(
    """g (float[N,3,16,16] x) => (float[M,C] y) {
        a = Conv <pads=[1,1,1,1]> (x, w1)  n = BatchNormalization (a, s, t, t, s)  b = Relu(n)
        c = Conv <pads=[1,1,1,1]> (b, w2)  d = Relu(c)  p = GlobalAveragePool(d)  f = Flatten(p)
        y = Gemm(f, w3)
    }""",
    {
        "w1": normal(16, 3, 3, 3),
        "w2": normal(32, 16, 3, 3),
        "w3": normal(32, 4),
        "s": np.abs(normal(16)) + 0.5,
        "t": np.abs(normal(16)),
    },
)
