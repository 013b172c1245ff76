from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecc import catalog
from edgecc.conv import Window
from edgecc.errors import UsageError
from edgecc.layers import Layer, Sketch
from edgecc.planning.measured import Entry, PriceTable
from edgecc.planning.prices import prices_of, signature


def conv(out: int, channels: int, kernel: int, *, size: int = 28, groups: int = 1) -> Layer:
    sketch = Sketch()
    weight = np.broadcast_to(np.int8(0), (out, channels // groups, kernel, kernel))
    window = Window((1, 1), (kernel // 2,) * 4, (1, 1))
    sketch.conv((channels, size, size), weight, window=window, groups=groups)
    return sketch.layers[0]


def table(board: str = "rpi4", **changes: Any) -> dict[str, Any]:
    model = prices_of(catalog.target("rpi4"))
    small, large, pointwise = conv(64, 64, 3), conv(128, 128, 3, size=14), conv(64, 32, 1)
    entries = [
        Entry.of(small, 2 * model.layer_ms(small), 3 * model.layer_mj(small)),
        Entry.of(large, 8 * model.layer_ms(large)),
        Entry.of(pointwise, model.layer_ms(pointwise)),
    ]
    whole = PriceTable(
        schema_version=1,
        board=board,
        backend="tvm",
        versions={"tvm": "0.27"},
        clocks={"cpu_mhz": 1500},
        entries=tuple(entries),
    )
    return {**json.loads(whole.to_json()), **changes}


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_what_was_measured_and_what_is_scaled_to_it(tmp_path: Path) -> None:
    model = prices_of(catalog.target("rpi4"))
    prices = prices_of(catalog.target("rpi4"), write(tmp_path / "prices.json", table()))
    assert prices.name == (
        "measured on rpi4 with tvm: 3 operators, 1 with energy; others by the roofline of rpi4, "
        "fp32, scaled (dense x4.00, the rest x2.52, pointwise x1.00)"
    )
    measured, unknown = [conv(64, 64, 3)], [conv(96, 96, 3, size=20)]
    assert prices.latency_ms(measured) == pytest.approx(2 * model.latency_ms(measured))
    assert prices.latency_ms(unknown) == pytest.approx(4 * model.latency_ms(unknown))
    other = [conv(256, 64, 3, groups=64)]
    assert prices.latency_ms(other) == pytest.approx(16 ** (1 / 3) * model.latency_ms(other))
    assert prices.energy_mj(measured) == pytest.approx(3 * model.energy_mj(measured))
    assert prices.energy_mj(other) == pytest.approx(3 * model.energy_mj(other))


def test_a_table_without_energy(tmp_path: Path) -> None:
    data = table()
    for entry in data["entries"]:
        entry.pop("energy_mj", None)
    prices = prices_of(catalog.target("rpi4"), write(tmp_path / "prices.json", data))
    model = prices_of(catalog.target("rpi4"))
    assert prices.energy_mj([conv(64, 64, 3)]) == pytest.approx(model.energy_mj([conv(64, 64, 3)]))


def test_a_signature_tells_operators_apart() -> None:
    layer = conv(256, 64, 3, groups=64)
    assert signature(layer) == "Conv 256x1x3x3 on 64x28x28 s1,1 p1,1,1,1 d1,1 g64"
    network = Sketch()
    network.gather((8, 5), np.arange(3))
    network.conv((8,), np.zeros((4, 8)))
    found = [signature(layer) for layer in network.layers]
    assert found == ["Gather on 8x5 to 3x5", "Gemm 4x8 on 8 g1"]
    for each in [*network.layers, layer]:
        assert Entry.of(each, 1.0).layer == each


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"schema_version": 2}, "schema_version: "),
        ({"entries": []}, "entries: "),
        ({"extra": 1}, "extra: "),
        ({"entries": [{"operator": "Conv", "x": [8, 4], "channels": 4, "latency_ms": 1}]}, "sizes"),
        ({"entries": [{"operator": "Add", "x": [8], "channels": 8, "latency_ms": 0}]}, "latency"),
        ({"entries": [{"operator": "Add", "x": [8], "channels": 8, "latency_ms": 1}] * 2}, "twice"),
        ({"entries": [{"operator": "Mul", "x": [8], "channels": 8, "latency_ms": 1}]}, "operator"),
    ],
)
def test_damaged_tables(tmp_path: Path, damage: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "prices.json", table(**damage))
    with pytest.raises(UsageError, match=message) as caught:
        prices_of(catalog.target("rpi4"), path)
    assert caught.value.hint is not None


def test_tables_that_are_none_or_of_another_board(tmp_path: Path) -> None:
    board = catalog.target("rpi4")
    with pytest.raises(UsageError, match="cannot read the prices"):
        prices_of(board, tmp_path / "absent.json")
    (tmp_path / "text.json").write_bytes(b"\xff{")
    with pytest.raises(UsageError, match="is not one"):
        prices_of(board, tmp_path / "text.json")
    path = write(tmp_path / "prices.json", table(board="rpi5"))
    with pytest.raises(UsageError, match="measured on rpi5, not on rpi4"):
        prices_of(board, path)
