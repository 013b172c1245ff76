"""`edgecc explain`: what was chosen, what else there was, and why it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from command_line import FEW, Place, build, edgecc, words
from helpers import normal, parse
from residual import W, X

Save = Callable[..., Path]


def test_explain_shows_what_else_there_was(place: Place) -> None:
    model, calib, _ = place
    arguments = ("explain", model, "--macs", "0.5", "--calib", calib)
    families = ("--families", "basis, spatial_svd, pointwise_depthwise(rank=1)")
    shown = edgecc(*arguments, *families)
    assert shown.exit_code == 0, shown.stderr
    text = words(shown.stdout)
    for told in ("could be", "why not", "weight", "as it is", "chosen", "planned for --macs 0.5"):
        assert told in text
    assert any(f"basis(rank={rank})" in text for rank in range(1, 13))
    found = json.loads(edgecc(*arguments, *families, "--json").stdout)
    for name, entry in found["planning"]["convolutions"].items():
        assert name in text
        why = [alternative["why"] for alternative in entry["alternatives"]]
        assert why[0] == "chosen"
        assert all(why)
        assert {None, "basis", "spatial_svd"} <= {a["family"] for a in entry["alternatives"]}
        for alternative in entry["alternatives"]:
            assert alternative["error"] >= 0
            assert alternative["macs"] > 0
    assert found["goal"] == {"macs": 0.5}


def test_explain_reads_well_without_options_and_without_rewrites(place: Place) -> None:
    model, calib, _ = place
    plain = words(edgecc("explain", model, "--passes", "hetconv").stdout)
    assert "hetconv" in plain
    assert "hetconv()" not in plain
    assert "error: the share of the weights' energy that is lost" in plain
    fitted = words(edgecc("explain", model, "--passes", "hetconv", "--calib", calib).stdout)
    assert "error: the share of the output's energy on the samples that is lost" in fitted
    nothing = words(edgecc("explain", model, "--passes", "", "--calib", calib).stdout)
    assert "none:" not in nothing
    assert "refit:" not in nothing
    assert "energy that is lost" not in nothing


def test_what_is_refused_is_shown_with_its_reason(save: Save, tmp_path: Path) -> None:
    model = parse(
        """g (float[N,4,10,10] x) => (float[A,B,C,D] y) {
            a = Conv <pads=[1,1,1,1]> (x, w0)  b = Conv <group=12> (a, wd)  y = Conv(b, w2)
        }""",
        {"w0": W["w0"], "w2": W["w2"], "wd": normal(12, 1, 3, 3) / 3},
    )
    np.savez(tmp_path / "x.npz", x=X)
    result = edgecc("explain", save(model), "--macs", "0.8", "--calib", tmp_path / "x.npz", *FEW)
    assert result.exit_code == 0, result.stderr
    assert "refused: it is depthwise: its filters have no basis in common" in words(result.stdout)


def test_a_bundle_explains_the_plan_that_it_was_built_by(place: Place) -> None:
    report = build(place, "--macs", "0.6", *FEW)
    shown = edgecc("explain", place[2])
    assert "planned for --macs 0.6" in shown.stdout
    assert "chosen" in shown.stdout
    assert (
        json.loads(edgecc("explain", place[2], "--json").stdout)["planning"] == report["planning"]
    )
