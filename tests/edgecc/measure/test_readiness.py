from __future__ import annotations

from typing import Any

import pytest

from edgecc import catalog
from edgecc.device.connect import Device
from edgecc.measure.readiness import Found, lacks, look

WELL: dict[str, Any] = {
    "python": "3.8.10",
    "machine": "aarch64",
    "model": "Jetson-AGX",
    "soc": "tegra194",
    "tensorrt": "8.5.2",
    "trtexec": "/usr/src/tensorrt/bin/trtexec",
    "root": True,
    "sudo": False,
    "sensors": {"power_readable": True},
    "disk_free_mb": {"/tmp": 9000},
}
SHOW = "sudo chmod a+r /sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/{in,curr}*_input"


def lacking(**changes: Any) -> list[tuple[str, str | None]]:
    found = lacks({**WELL, **changes}, catalog.target("xavier"))
    return [(lack.what, lack.command) for lack in found]


def test_a_board_with_all_that_it_takes_lacks_nothing() -> None:
    assert lacking() == []


@pytest.mark.parametrize(
    ("changes", "what", "command"),
    [
        ({"python": None}, "it has no Python", "sudo apt-get install python3-minimal"),
        (
            {"sensors": {"power_readable": False, "to_show_power": SHOW}},
            "its power is hidden",
            SHOW,
        ),
        ({"sensors": {}}, "it has no power sensor", None),
        ({"trtexec": None}, "trtexec is not installed", "sudo apt-get install libnvinfer-bin"),
        ({"tensorrt": None}, "TensorRT is not installed", "sudo apt-get install tensorrt"),
        ({"disk_free_mb": {"~": 12}}, "~ has 12 MB left", "df -h"),
        ({"soc": "tegra234", "model": "NVIDIA Orin NX"}, "it is NVIDIA Orin NX, not", None),
    ],
)
def test_what_is_missing_and_what_mends_it(
    changes: dict[str, Any], what: str, command: str | None
) -> None:
    ((told, mends),) = lacking(**changes)
    assert told.startswith(what)
    assert mends == command


def test_a_user_without_root() -> None:
    ((what, command),) = lacking(root=False)
    assert "not root and has no sudo" in what
    assert command is not None


def test_a_target_that_does_not_exist_is_told() -> None:
    found = Found("a", "local", "xaviar", WELL, None)
    assert found.lacks[0].what.startswith("there is no target 'xaviar'")
    assert Found("a", "local", None, WELL, None).lacks == []


def test_a_device_that_does_not_answer_says_why() -> None:
    (found,) = look({"nowhere": Device(url="ssh://nobody@127.0.0.1:1")})
    assert found.identity is None
    assert found.why is not None
    assert found.to_json()["lacks"] == []
    assert look({}) == []
