"""Whether a change of the numbers is a fault of edgecc, and which pass it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from batchnormed import NETWORK
from helpers import normal, parse

from edgecc import job
from edgecc.errors import EdgeccError
from passes.prepare import affine

Save = Callable[..., Path]


def test_debug_names_the_first_pass_that_changed_the_numbers(save: Save, tmp_path: Path) -> None:
    folder = tmp_path / "debug"
    report = job.build(
        save(NETWORK),
        passes="basis(rank=1000), dac(rank=1)",
        debug_passes=folder,
        out=tmp_path / "out",
    ).report
    assert report["debug"]["first_that_changed_the_numbers"] == "dac(rank=1)"
    written = sorted(p.name for p in folder.iterdir())
    assert len(written) == len(report["debug"]["passes"])
    assert written[-1].endswith("_fold_gather.onnx")
    exact = job.build(save(NETWORK), passes="", debug_passes=folder, out=tmp_path / "out").report
    assert exact["debug"]["first_that_changed_the_numbers"] is None


def test_a_preparation_that_changes_the_numbers_is_caught(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = affine.read_affine

    def wrong(node: ir.Node) -> object:
        found = honest(node)
        return replace(found, shift=found.shift + 1) if isinstance(found, affine.Affine) else found

    monkeypatch.setattr(affine, "read_affine", wrong)
    with pytest.raises(EdgeccError, match="preparing the model changed the outputs"):
        job.build(save(NETWORK), passes="", out=tmp_path / "out")
    with pytest.raises(EdgeccError, match="fold_batchnorm changed the outputs"):
        job.build(save(NETWORK), out=tmp_path / "out", debug_passes=tmp_path / "debug")
    assert not (tmp_path / "out").exists()


def test_a_random_network_is_not_taken_for_a_fault(save: Save, tmp_path: Path) -> None:
    model = parse(
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) {
            r = RandomNormalLike(x)  s = Add(x, r)  y = Conv(s, w)
        }""",
        {"w": normal(4, 3, 3, 3)},
    )
    assert job.build(save(model), passes="", out=tmp_path / "out").report["verify"]


def test_a_network_that_amplifies_rounding_is_not_taken_for_a_fault(
    save: Save, tmp_path: Path
) -> None:
    model = parse(
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) {
            c = Conv(x, w)  n = BatchNormalization (c, s, t, t, s)
            d = Sub(n, n1)  e = Mul(d, huge)  y = Sin(e)
        }""",
        {
            "w": normal(4, 3, 3, 3),
            "s": np.abs(normal(4)) + 0.5,
            "t": np.abs(normal(4)),
            "n1": normal(1, 4, 6, 6),
            "huge": normal(1, 4, 6, 6) * 1e5,
        },
    )
    report = job.build(save(model), passes="", out=tmp_path / "out").report
    assert report["verify"]["prepared"]["max_rel_error"] > 1e-3
