"""Convolutions of every shape that the CPU schedules know, against onnxruntime.

`h` stands for channels in blocks, `p` for the input as it is: see tests/branches.py.
"""

from __future__ import annotations

import pytest
from branches import SMALL, check
from tvm_networks import HOST

from edgecc.target import Target, this_arch
from targets.tvm.toolchain import cpu_flags

DENSE = {
    "1 to 1": "y = Conv <pads = [1, 1, 1, 1]> (h1, w1x1x3x3, b1)",
    "3 to 5": "y = Conv <pads = [1, 1, 1, 1]> (p3, w5x3x3x3, b5)",
    "5 to 3": "y = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (h5, w3x5x3x3, b3)",
    "10 to 20, stride 2": "y = Conv <strides = [2, 2], pads = [0, 1, 1, 0]> (h10, w20x10x3x3)",
    "20 to 24, dilated": "y = Conv <dilations = [2, 3], pads = [2, 3, 2, 3]> (h20, w24x20x3x3)",
    "24 to 40, uneven strides": "y = Conv <strides = [1, 3]> (h24, w40x24x3x3, b40)",
    "40 to 10, uneven pads": "y = Conv <strides = [2, 1], pads = [0, 1, 2, 3]> (h40, w10x40x3x4)",
    "40 to 32, 5x5": "y = Conv <pads = [2, 2, 2, 2]> (p40, w32x40x5x5, b32)",
    "16 to 16, 2x2": "y = Conv <pads = [0, 0, 1, 1]> (h16, w16x16x2x2)",
    "only pads": "y = Conv <dilations = [6, 4], pads = [6, 4, 6, 4]> (h8, w8x8x3x3)",
    "the whole map": "y = Conv (h8, w24x8x7x7)",
}
POINTWISE = {
    "1 to 40": "y = Conv (h1, w40x1x1x1)",
    "3 to 24": "y = Conv (p3, w24x3x1x1, b24)",
    "5 to 1": "y = Conv (h5, w1x5x1x1, b1)",
    "20 to 20": "y = Conv (h20, w20x20x1x1)",
    "40 to 10": "y = Conv (p40, w10x40x1x1)",
    "40 to 80": "y = Conv (h40, w80x40x1x1, b80)",
    "stride 2": "y = Conv <strides = [2, 2]> (h24, w32x24x1x1)",
    "stride 3, pads": "y = Conv <strides = [3, 1], pads = [1, 0, 0, 2]> (h10, w16x10x1x1)",
}
DEPTHWISE = {
    "3x3": "y = Conv <group = 24, pads = [1, 1, 1, 1]> (h24, w24x1x3x3, b24)",
    "of the input": "y = Conv <group = 5, pads = [1, 1, 1, 1]> (p5, w5x1x3x3)",
    "stride 2": "y = Conv <group = 20, strides = [2, 2], pads = [1, 1, 1, 1]> (h20, w20x1x3x3)",
    "5x5": "y = Conv <group = 10, strides = [2, 1], pads = [2, 2, 2, 2]> (h10, w10x1x5x5)",
    "dilated": "y = Conv <group = 16, dilations = [2, 2], pads = [0, 2, 1, 3]> (h16, w16x1x3x3)",
    "multiplier 2": "y = Conv <group = 20, pads = [1, 1, 1, 1]> (h20, w40x1x3x3, b40)",
    "multiplier 3": "y = Conv <group = 3, pads = [1, 1, 1, 1]> (h3, w9x1x3x3)",
    "multiplier 4": "y = Conv <group = 10, strides = [2, 2]> (h10, w40x1x3x3, b40)",
    "multiplier 2, 1x1": "y = Conv <group = 8> (h8, w16x1x1x1)",
    "reads a multiplier's": "a = Conv <group = 5> (h5, w15x1x3x3);"
    "y = Conv <group = 15, pads = [1, 1, 1, 1]> (a, w15x1x3x3, b15)",
}
GROUPED = {
    f"{width} a group": f"y = Conv <group = {groups}, pads = [1, 1, 1, 1]>"
    f" (h{width * groups}, w{width * groups}x{width}x3x3, b{width * groups})"
    for width, groups in ((2, 16), (3, 8), (4, 6), (5, 4), (8, 4), (12, 2), (16, 2), (20, 2))
} | {
    "32 a group": "y = Conv <group = 2, strides = [2, 2]> (h64, w64x32x3x3)",
    "of the input": "y = Conv <group = 4, pads = [1, 0, 0, 1]> (p40, w20x10x3x3)",
    "one output a group": "y = Conv <group = 6> (h24, w6x4x3x3)",
    "more outputs": "y = Conv <group = 4> (h8, w32x2x3x3)",
    "written in the order of lanes": "a = Conv (h24, w96x24x1x1, b96); r = Relu (a);"
    "y = Conv <group = 24, pads = [1, 1, 1, 1]> (r, w24x4x3x3, b24)",
    "written so for one of two": "a = Conv (h16, w32x16x3x3);"
    "d = Conv <group = 16> (a, w16x2x3x3); e = Conv (a, w16x32x3x3); y = Add (d, e)",
    "several outputs on lanes": "y = Conv <group = 20> (h40, w60x2x3x3)",
    "fewer outputs": "y = Conv <group = 2> (h32, w8x16x1x1)",
    "reads a multiplier's": "a = Conv <group = 8> (h8, w16x1x1x1);"
    "y = Conv <group = 4> (a, w32x4x3x3)",
}
ALONG = {
    "3x1": "y = Conv <pads = [1, 0, 1, 0]> (h20, w24x20x3x1)",
    "1x3": "y = Conv <pads = [0, 1, 0, 1]> (h20, w24x20x1x3)",
    "5x1 stride 2": "y = Conv <strides = [2, 1], pads = [2, 0, 2, 0]> (h10, w10x10x5x1, b10)",
    "1x7": "y = Conv <pads = [0, 3, 0, 3]> (h16, w8x16x1x7)",
    "one after the other": "a = Conv <pads = [1, 0, 1, 0]> (h24, w8x24x3x1);"
    "y = Conv <pads = [0, 1, 0, 1]> (a, w24x8x1x3, b24)",
}
TRANSPOSED = {
    "2x2 s2": "y = ConvTranspose <strides = [2, 2]> (h16, w16x8x2x2, b8)",
    "3x3 s2": "y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]>"
    " (h10, w10x5x3x3, b5)",
    "4x4 s2": "y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (h24, w24x20x4x4)",
    "3x3 s1": "y = ConvTranspose <pads = [1, 1, 1, 1]> (h8, w8x24x3x3)",
    "9x9 s3": "y = ConvTranspose <strides = [3, 3], pads = [4, 4, 4, 4], output_padding = [2, 2]>"
    " (h5, w5x1x9x9)",
    "2x3 s3x1": "y = ConvTranspose <strides = [3, 1], pads = [0, 1, 0, 0]> (h3, w3x4x2x3)",
    "of the input": "y = ConvTranspose <strides = [2, 2]> (p5, w5x3x5x5)",
    "of a multiplier's": "a = Conv <group = 8> (h8, w16x1x1x1);"
    "y = ConvTranspose <strides = [2, 2]> (a, w16x4x3x3)",
}
FIRST = {
    "7x7 s2": "y = Conv <strides = [2, 2], pads = [3, 3, 3, 3]> (p3, w64x3x7x7, b64)",
    "3x3 s2": "y = Conv <strides = [2, 2], pads = [0, 0, 1, 1]> (p3, w24x3x3x3, b24)",
    "4x4 s4": "y = Conv <strides = [4, 4]> (p3, w40x3x4x4, b40)",
    "9x9 of one": "y = Conv <pads = [4, 4, 4, 4]> (p1, w20x1x9x9)",
}
FAMILIES = {
    "dense": (DENSE, (13, 17)),
    "pointwise": (POINTWISE, (17, 7)),
    "depthwise": (DEPTHWISE, (13, 7)),
    "grouped": (GROUPED, (7, 13)),
    "along": (ALONG, (55, 7)),
    "transposed": (TRANSPOSED, (7, 9)),
    "first": (FIRST, (55, 17)),
}


def cpu(name: str, flag: str) -> object:
    """An x86 core by name, where this machine has what it has."""
    target = HOST.model_copy(update={"cpu": name, "arch": "x86_64"})
    missing = this_arch() != "x86_64" or flag not in cpu_flags()
    reason = f"this machine has no {flag}"
    return pytest.param(target, id=name, marks=[SLOW, pytest.mark.skipif(missing, reason=reason)])


SLOW = pytest.mark.slow
CORES = [
    pytest.param(HOST, id="host"),
    pytest.param(SMALL, id="small caches", marks=SLOW),
    cpu("x86-64-v4", "avx512f"),
    cpu("haswell", "avx2"),
    cpu("x86-64", "sse2"),
]


@pytest.mark.parametrize("target", CORES)
@pytest.mark.parametrize("family", FAMILIES)
def test_convolutions_equal_onnxruntime(family: str, target: Target) -> None:
    branches, pixels = FAMILIES[family]
    check(branches, pixels, target=target)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_several_images_at_once(family: str) -> None:
    branches, (high, wide) = FAMILIES[family]
    check(branches, (wide + 4, high), batch=3)
    check(branches, (wide, high + 4), batch=2, target=SMALL)
