"""INT8 changes how a network is computed, not what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from residual import NETWORK

import edgecc
from edgecc import catalog
from edgecc.lowering import Lowering
from edgecc.precision import with_samples
from edgecc.request import Request
from edgecc.target import EngineWish

Save = Callable[..., Path]


def test_samples_made_up_for_int8_have_no_say_in_the_rewrites(save: Save, tmp_path: Path) -> None:
    model, wish = save(NETWORK), "basis(energy=0.9)"
    made = {
        precision: edgecc.build(
            model, "xavier", passes=wish, precision=precision, out=tmp_path / precision
        ).report
        for precision in ("fp16", "int8")
    }
    assert made["int8"]["decisions"] == made["fp16"]["decisions"]
    assert made["int8"]["calibration"]["name"].startswith("synthetic")
    told = (tmp_path / "int8" / "plan.json").read_text()
    assert '"calibration": null' in told


def test_the_users_own_samples_have(tmp_path: Path) -> None:
    board = catalog.target("xavier")
    lowering = Lowering(engine=EngineWish("int8")).settle(board, lambda text: None)
    assert not with_samples(Request(), lowering, board).fit
    assert with_samples(Request(calib="synthetic"), lowering, board).fit
    assert with_samples(Request.of(macs="0.5"), lowering, board).fit
