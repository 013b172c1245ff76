"""A whole measurement of a bundle for a Jetson over real ssh, its power with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import conv_model
from jetson import standin
from jetson.board import Board
from jetson.sshd import Sshd

from edgecc import job
from edgecc.device.ssh import CONFIG
from edgecc.errors import DeviceError
from edgecc.measure import prices
from edgecc.measure.bench import Wish, bench
from edgecc.measure.trust import Limits

pytestmark = pytest.mark.slow
WISH = Wish(
    rounds=3, seconds=1.0, energy_s=3.0, idle_s=3.0, mode="MAXN", limits=Limits(spread=1000)
)


@pytest.fixture
def folder(
    save: Callable[..., Path], tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv(CONFIG, str(sshd.config))
    # large enough that the stand-in, which ends after 100,000 runs, runs for as long as asked
    model = save(conv_model(32, 32, (3, 3), size=64))
    return job.build(model, "xavier", passes="", out=tmp_path / "net").folder


def test_time_power_and_layers_of_an_engine(folder: Path, sshd: Sshd, board: Board) -> None:
    standin.install(board.root, "8.5.2")
    before = board.settings()
    found = bench(folder, sshd.url, WISH, against=folder)
    found.demand()
    assert found.measurement.ratio is not None
    assert found.data["conditions"]["mode"]["name"] == "MAXN"
    energy = found.data["bundles"]["B"]["energy"]
    rails = set(energy["energy_mj"]) - {"total"}
    assert rails == {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}
    total = sum(energy["energy_mj"][rail] for rail in rails)
    assert energy["energy_mj_per_run"] == pytest.approx(total, rel=1e-9)
    assert energy["marginal_mj"]["GPU"] > 0
    assert found.data["bundles"]["B"]["compute"]["samples"] > 0
    assert found.data["layers"]["B"][0]["nodes"] == ["conv"]
    assert prices.found("xavier", "tensorrt") is not None
    assert (found.trace.folder / "raw/trtexec-build-1.log").is_file()
    assert not [note for note in found.data["notes"] if "unstable" in note]  # `spread` tells that
    assert board.settings() == before


def test_a_board_that_is_not_the_bundles(folder: Path, sshd: Sshd, board: Board) -> None:
    (board.root / "proc/device-tree/compatible").write_bytes(b"nvidia,p3737\0nvidia,tegra234\0")
    with pytest.raises(DeviceError, match="tegra234"):
        bench(folder, sshd.url, WISH)
    assert not (folder / "trace").exists()
