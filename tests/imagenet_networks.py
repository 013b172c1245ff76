"""The convolutions of torchvision's networks at 1x3x224x224 as layers, to price them.

Sums, concatenations, pooling and activations are left out.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from edgecc.conv import Window
from edgecc.layers import Layer, Sizes, Sketch


class Network(Sketch):
    """Operators one after another, padded to keep the size."""

    def then(self, x: Sizes, out: int, *kernel: int, groups: int = 1, stride: int = 1) -> Sizes:
        weight = np.broadcast_to(np.int8(0), (out, x[0] // groups, *kernel))
        pads = tuple(k // 2 for k in kernel) * 2
        window = Window((stride,) * len(kernel), pads, (1,) * len(kernel))
        return self.conv(x, weight, window=window, groups=groups)

    def classify(self, *widths: int) -> list[Layer]:
        for wide_in, wide_out in itertools.pairwise(widths):
            self.conv((wide_in,), np.broadcast_to(np.int8(0), (wide_out, wide_in)))
        return self.layers


IMAGE = (3, 224, 224)


def pooled(x: Sizes) -> Sizes:
    return (x[0], math.ceil(x[1] / 2), math.ceil(x[2] / 2))


def resnet(*depths: int, bottleneck: bool) -> list[Layer]:
    network = Network()
    x = pooled(network.then(IMAGE, 64, 7, 7, stride=2))
    grown = 4 if bottleneck else 1
    for index, (width, depth) in enumerate(zip((64, 128, 256, 512), depths, strict=True)):
        for block in range(depth):
            stride = 2 if index and not block else 1
            if x[0] != width * grown:
                network.then(x, width * grown, 1, 1, stride=stride)
            if bottleneck:
                y = network.then(x, width, 1, 1)
                y = network.then(y, width, 3, 3, stride=stride)
                x = network.then(y, width * grown, 1, 1)
            else:
                x = network.then(network.then(x, width, 3, 3, stride=stride), width, 3, 3)
    return network.classify(512 * grown, 1000)


def vgg(*depths: int) -> list[Layer]:
    network, x = Network(), IMAGE
    for width, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
        for _ in range(depth):
            x = network.then(x, width, 3, 3)
        x = pooled(x)
    return network.classify(25088, 4096, 4096, 1000)


def mobilenet_v2() -> list[Layer]:
    network = Network()
    x = network.then(IMAGE, 32, 3, 3, stride=2)
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
    for grown, width, depth, first in (*rows, (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(depth):
            wide = x[0] * grown
            y = network.then(x, wide, 1, 1) if grown > 1 else x
            y = network.then(y, wide, 3, 3, groups=wide, stride=1 if block else first)
            x = network.then(y, width, 1, 1)
    network.then(x, 1280, 1, 1)
    return network.classify(1280, 1000)


def squeezenet_1_1() -> list[Layer]:
    network = Network()
    x = pooled(network.then(IMAGE, 64, 3, 3, stride=2))
    for index, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        if index in (2, 4):
            x = pooled(x)
        y = network.then(x, width, 1, 1)
        network.then(y, width * 4, 1, 1)
        x = (width * 8, *network.then(y, width * 4, 3, 3)[1:])
    network.then(x, 1000, 1, 1)
    return network.layers


def densenet121() -> list[Layer]:
    network = Network()
    x = pooled(network.then(IMAGE, 64, 7, 7, stride=2))
    for index, depth in enumerate((6, 12, 24, 16)):
        for _ in range(depth):
            network.then(network.then(x, 128, 1, 1), 32, 3, 3)
            x = (x[0] + 32, *x[1:])
        if index < 3:
            x = pooled(network.then(x, x[0] // 2, 1, 1))
    return network.classify(1024, 1000)
