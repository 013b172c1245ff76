"""The prices of Jetsons against the times that torch2trt publishes: TensorRT, fp16, batch 1.

Its JETSON_XAVIER.md and JETSON_NANO.md have all but MobileNetV2, which an older table of it has.
"""

from __future__ import annotations

import pytest
from imagenet_networks import Network, densenet121, mobilenet_v2, resnet, squeezenet_1_1, vgg

from edgecc import catalog
from edgecc.layers import Layer
from edgecc.planning.roofline import Roofline

NETWORKS = {
    "resnet18": resnet(2, 2, 2, 2, bottleneck=False),
    "resnet34": resnet(3, 4, 6, 3, bottleneck=False),
    "resnet50": resnet(3, 4, 6, 3, bottleneck=True),
    "resnet101": resnet(3, 4, 23, 3, bottleneck=True),
    "resnet152": resnet(3, 8, 36, 3, bottleneck=True),
    "vgg11": vgg(1, 1, 2, 2, 2),
    "vgg13": vgg(2, 2, 2, 2, 2),
    "vgg16": vgg(2, 2, 3, 3, 3),
    "vgg19": vgg(2, 2, 4, 4, 4),
    "mobilenet_v2": mobilenet_v2(),
    "squeezenet1_1": squeezenet_1_1(),
    "densenet121": densenet121(),
}
XAVIER_MS = {
    "resnet18": 1.64,
    "resnet34": 2.79,
    "resnet50": 3.48,
    "resnet101": 6.22,
    "resnet152": 8.58,
    "vgg11": 5.16,
    "vgg13": 6.27,
    "vgg16": 7.46,
    "vgg19": 8.52,
    "mobilenet_v2": 1.67,
    "squeezenet1_1": 0.951,
}
NANO_MS = {
    "resnet18": 11.4,
    "resnet34": 20.2,
    "resnet50": 29.8,
    "resnet101": 51.1,
    "resnet152": 72.3,
    "vgg11": 55.1,
    "vgg13": 68.7,
    "vgg16": 85.1,
    "squeezenet1_1": 4.34,
    "densenet121": 24.8,
}


def test_the_networks_are_those_that_were_timed() -> None:
    gmacs = {name: sum(layer.macs for layer in layers) / 1e9 for name, layers in NETWORKS.items()}
    assert gmacs["resnet18"] == pytest.approx(1.81, abs=0.01)
    assert gmacs["resnet50"] == pytest.approx(4.09, abs=0.01)
    assert gmacs["vgg16"] == pytest.approx(15.47, abs=0.01)
    assert gmacs["mobilenet_v2"] == pytest.approx(0.30, abs=0.01)


@pytest.mark.parametrize(
    ("board", "name", "published_ms"),
    [
        *(("xavier", *each) for each in XAVIER_MS.items()),
        *(("nano", *each) for each in NANO_MS.items()),
    ],
)
def test_times_are_within_a_fifth_of_the_published(
    board: str, name: str, published_ms: float
) -> None:
    told_ms = Roofline(catalog.target(board)).latency_ms(NETWORKS[name])
    assert told_ms == pytest.approx(published_ms, rel=0.2)


def test_concatenations_are_not_priced() -> None:
    told_ms = Roofline(catalog.target("xavier")).latency_ms(NETWORKS["densenet121"])
    assert 0.7 * 6.37 < told_ms < 0.8 * 6.37


def conv(channels: int, size: int, kernel: int, groups: int) -> list[Layer]:
    network = Network()
    network.then((channels, size, size), channels, kernel, kernel, groups=groups)
    return network.layers


def test_fewer_multiply_adds_are_not_less_time_on_tensor_cores() -> None:
    """A depthwise and a pointwise convolution have a ninth of the multiply-adds of a dense one."""
    xavier = Roofline(catalog.target("xavier"))
    for channels, size, saves in ((64, 56, False), (128, 28, False), (512, 28, True)):
        dense = conv(channels, size, 3, 1)
        apart = [*conv(channels, size, 3, channels), *conv(channels, size, 1, 1)]
        assert sum(layer.macs for layer in apart) < 0.14 * dense[0].macs
        assert (xavier.latency_ms(apart) < 0.75 * xavier.latency_ms(dense)) is saves


def test_narrow_groups_are_far_from_the_peak_and_int8_does_not_help_them() -> None:
    board = catalog.target("xavier")
    grouped = conv(256, 28, 3, 64)  # 4 channels each, a 64th of the dense one's multiply-adds
    fp16, int8 = Roofline(board), Roofline(board.at("int8"))
    assert fp16.latency_ms(grouped) > 0.3 * fp16.latency_ms(conv(256, 28, 3, 1))
    assert int8.latency_ms(grouped) == pytest.approx(fp16.latency_ms(grouped), rel=0.05)
    dense = conv(256, 56, 3, 1)
    assert int8.latency_ms(dense) < 0.75 * fp16.latency_ms(dense)
    assert Roofline(board.at("fp32")).latency_ms(dense) > 3 * fp16.latency_ms(dense)


def test_channels_fill_a_tensor_core_by_eight_in_fp16_and_32_in_int8() -> None:
    board = catalog.target("xavier")
    for precision, granule in (("fp16", 8), ("int8", 32)):
        prices = Roofline(board.at(precision))

        def latency_ms(filters: int, prices: Roofline = prices) -> float:
            network = Network()
            network.then((256, 56, 56), filters, 3, 3)
            return prices.latency_ms(network.layers) if filters else 0.0

        wide = 4 * granule
        assert latency_ms(wide - granule + 1) == pytest.approx(latency_ms(wide), rel=0.02)
        assert latency_ms(wide + 1) > 1.03 * latency_ms(wide)
