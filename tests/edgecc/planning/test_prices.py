from __future__ import annotations

import math

import numpy as np
import pytest
from imagenet_networks import IMAGE, Network, pooled

from edgecc import catalog
from edgecc.errors import UsageError
from edgecc.layers import Layer
from edgecc.planning.prices import kind_of, prices_of
from edgecc.planning.roofline import Roofline
from edgecc.target import Target

SHAPES = [(64, 56), (128, 28), (256, 14), (512, 7)]


def dense(channels: int, size: int) -> list[Layer]:
    network = Network()
    network.then((channels, size, size), channels, 3, 3)
    return network.layers


def replaced(family: str, channels: int, size: int) -> list[Layer]:
    """What stands in the dense layer's place at about half of its multiply-adds."""
    network, x = Network(), (channels, size, size)
    if family == "basis":
        network.then(network.then(x, round(0.44 * channels / 16) * 16, 3, 3), channels, 1, 1)
    elif family == "spatial":
        network.then(network.then(x, channels * 3 // 4, 3, 1), channels, 1, 3)
    elif family == "dac":
        network.then(network.then(x, channels * 4, 3, 3, groups=channels), channels, 1, 1)
    elif family == "hetconv":
        y = network.gather(x, np.arange(channels))
        y = network.gather(network.then(y, channels, 3, 3, groups=4), np.arange(channels))
        network.add(y, network.then(x, channels, 1, 1))
    return network.layers


@pytest.fixture
def host() -> Roofline:
    """One core of a server, where the measured numbers come from."""
    return Roofline(catalog.target("host").model_copy(update={"cores": 1}))


# Time relative to the dense layer, onnxruntime 1.31 on one AVX-512 core, chains of four with ReLU.
MEASURED = {
    "basis": (0.61, 0.55, 0.51, 0.51),
    "spatial": (0.54, 0.53, 0.51, 0.45),
    "dac": (1.42, 0.94, 0.79, 0.56),
    "hetconv": (0.70, 0.50, 0.44, 0.38),
}


@pytest.mark.parametrize("family", MEASURED)
def test_the_host_is_priced_as_it_was_measured(host: Roofline, family: str) -> None:
    for (channels, size), measured in zip(SHAPES, MEASURED[family], strict=True):
        before = host.latency_ms(dense(channels, size))
        ratio = host.latency_ms(replaced(family, channels, size)) / before
        assert ratio == pytest.approx(measured, rel=0.25)
        assert 1.0 < before < 2.0  # 1.2 to 1.9 ms measured


def test_half_of_the_multiply_adds_is_not_half_of_the_time(host: Roofline) -> None:
    ratio = {
        family: [
            host.latency_ms(replaced(family, *shape)) / host.latency_ms(dense(*shape))
            for shape in SHAPES
        ]
        for family in MEASURED
    }
    assert ratio["dac"][0] > 1.2 > ratio["dac"][1] > ratio["dac"][2] > ratio["dac"][3]
    assert all(0.45 < r < 0.65 for r in ratio["spatial"])
    assert all(s < d for s, d in zip(ratio["spatial"], ratio["dac"], strict=True))


def vgg16(kept: float | None = None) -> list[Layer]:
    """VGG-16 at 224x224; `kept` is the share of filters of a basis of each convolution."""
    network, x = Network(), IMAGE
    for stage, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            basis = x if kept is None else network.then(x, max(1, round(stage * kept)), 3, 3)
            x = network.then(basis, stage, *((3, 3) if kept is None else (1, 1)))
        x = pooled(x)
    return network.classify(25088, 4096, 4096, 1000)


def test_the_form_of_the_roofline_fits_a_measured_network() -> None:
    """Tayyab et al.'s log of VGG-16 on Xavier (fp32, PyTorch): 5 times fewer multiply-adds in the
    convolutions took 1.73 times less time and 1.89 times less energy.
    """
    board = catalog.target("xavier")
    assert board.peaks is not None
    efficiency = {"dense": 0.65, "pointwise": 0.15}
    update = {
        "precision": "fp32",
        "gmacs_per_s": 705.0,
        "gbytes_per_s": 85.0,
        "overhead_us": 60.0,
        "efficiency": board.peaks.efficiency.model_copy(update=efficiency),
        "base_w": 12.6,
        "pj_per_mac": 4.8,
    }
    peaks = board.peaks.model_copy(update=update)
    prices = Roofline(board.model_copy(update={"peaks": peaks}))
    kept = (None, 0.441, 0.29, 0.21, 0.17)
    times_ms = [prices.latency_ms(vgg16(share)) for share in kept]
    assert times_ms == pytest.approx([37.6, 28.7, 24.8, 22.8, 21.8], rel=0.2)
    energies_mj = [prices.energy_mj(vgg16(share)) for share in kept]
    assert energies_mj == pytest.approx([548, 397, 334, 306, 290], rel=0.2)


@pytest.mark.parametrize("name", sorted(catalog.targets()))
def test_every_board_prices_every_kind_of_operator(name: str) -> None:
    prices = prices_of(catalog.target(name))
    assert prices.name.startswith(f"roofline of {name}, fp")
    layers = [*replaced("dac", 64, 28), *replaced("hetconv", 64, 28), *dense(64, 28)]
    network = Network()
    network.then((64, 28, 28), 64, 3, 3, groups=64)
    network.conv((64,), np.zeros((10, 64)))
    layers += network.layers
    assert {kind_of(layer) for layer in layers} == {
        *("dense", "pointwise", "grouped", "depthwise", "gemm", "memory")
    }
    for layer in layers:
        assert 0 < prices.latency_ms([layer]) < 100
        assert 0 < prices.energy_mj([layer]) < 1000
    assert prices.latency_ms(layers) == pytest.approx(sum(map(prices.layer_ms, layers)))
    assert prices.latency_ms([]) == prices.energy_mj([]) == 0


def test_channels_that_fill_up_a_granule_cost_as_if_they_were_there(host: Roofline) -> None:
    def latency_ms(filters: int) -> float:
        network = Network()
        network.then((64, 56, 56), filters, 3, 3)
        return host.latency_ms(network.layers)

    assert latency_ms(17) == latency_ms(32) > latency_ms(16)


def test_a_board_without_peaks() -> None:
    board = Target(name="b", title="t", arch="host", backend="tvm", backends=("tvm",), passes="")
    with pytest.raises(UsageError, match=r"b has no \[peaks\]"):
        prices_of(board)


def test_prices_are_finite_whatever_the_layer() -> None:
    prices = prices_of(catalog.target("xavier"))
    huge = Layer("Gather", (1 << 20, 1 << 10), (1 << 20, 1 << 10))
    assert math.isfinite(prices.latency_ms([huge]))
