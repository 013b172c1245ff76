"""Which operators compute in blocks."""

from __future__ import annotations

from targets.tvm.layout.convert import Rule
from targets.tvm.layout.convolutions import convolution
from targets.tvm.layout.elementwise import FINITE, OTHER, elementwise

RULES: dict[str, Rule] = {
    **{name: elementwise for name in (*FINITE, *OTHER)},
    "relax.nn.conv2d": convolution,
}
