from __future__ import annotations

import pytest

from edgecc.device.connect import Device
from edgecc.errors import UsageError
from edgecc.measure.fleet import chosen

KNOWN = {
    "pi-1": Device(url="ssh://pi@one", target="rpi4"),
    "pi-2": Device(url="ssh://pi@two", target="rpi4"),
    "box": Device(url="ssh://pi@three"),
    "xavier-1": Device(url="ssh://nvidia@four", target="xavier"),
}


def test_all_are_those_of_the_target() -> None:
    assert chosen("all", KNOWN, "rpi4") == ["pi-1", "pi-2"]


def test_those_that_are_named() -> None:
    assert chosen("box, pi-2,box", KNOWN, "rpi4") == ["box", "pi-2"]


@pytest.mark.parametrize(
    ("asked", "target", "says"),
    [
        ("pi-3", "rpi4", "no device 'pi-3'"),
        ("xavier-1", "rpi4", "xavier-1 is a xavier"),
        ("all", "orin", 'no device with target = "orin"'),
    ],
)
def test_what_cannot_be_meant(asked: str, target: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        chosen(asked, KNOWN, target)
