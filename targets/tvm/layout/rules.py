"""Which operators compute in blocks."""

from __future__ import annotations

from targets.tvm.layout.converter import Rule
from targets.tvm.layout.convolutions import convolution, product
from targets.tvm.layout.elementwise import FINITE, FULL, elementwise
from targets.tvm.layout.pooling import pool, whole_map
from targets.tvm.layout.shapes import concat, reshape, resize, take
from targets.tvm.layout.transposed import transposed

RULES: dict[str, Rule] = {
    **dict.fromkeys((*FINITE, *FULL), elementwise),
    "relax.nn.conv2d": convolution,
    "relax.nn.conv2d_transpose": transposed,
    "relax.matmul": product,
    "relax.image.resize2d": resize,
    "relax.nn.max_pool2d": pool,
    "relax.nn.avg_pool2d": pool,
    "relax.mean": whole_map,
    "relax.sum": whole_map,
    "relax.max": whole_map,
    "relax.concat": concat,
    "relax.take": take,
    "relax.reshape": reshape,
    "relax.squeeze": reshape,
    "relax.flatten": reshape,
}
