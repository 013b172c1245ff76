from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import normal, operators, outputs, parse, run_passes

from edgecc import bundle, catalog, job
from edgecc.errors import UsageError
from edgecc.plan import Plan

Save = Callable[..., Path]
NETWORK = parse(
    """g (float[1,8,9,9] x) => (float[N,C,H,W] y) {
        a = Conv <pads=[1,1,1,1]> (x, w1)  b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, w2)  d = Relu(c)  y = Conv(d, w3)
    }""",
    {"w1": normal(16, 8, 3, 3), "w2": normal(16, 16, 3, 3), "w3": normal(4, 16, 1, 1)},
)


def write(path: Path, **convolutions: object) -> Path:
    file = {"schema_version": 1, "model_sha256": "0", "convolutions": convolutions}
    path.write_text(json.dumps(file))
    return path


@pytest.mark.parametrize(
    "passes", ["dac(rank=2)", "basis(energy=0.9)", "basis(rank=4), dac(rank=3)", ""]
)
def test_a_plan_applied_again_gives_the_same_bytes(save: Save, tmp_path: Path, passes: str) -> None:
    model = save(NETWORK)
    first = job.build(model, passes=passes, out=tmp_path / "first").folder
    second = job.build(model, plan=first / "plan.json", out=tmp_path / "second").folder
    for name in (bundle.MODEL, bundle.PLAN):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_plan_can_be_edited(save: Save, tmp_path: Path) -> None:
    plan = write(
        tmp_path / "plan.json",
        Conv_a={"family": "dac", "options": {"rank": 2}},
        Conv_c={"family": None},
    )
    built = job.build(save(NETWORK), plan=plan, out=tmp_path / "out")
    decisions = {d["convolution"]: d for d in built.report["decisions"]}
    assert decisions["Conv_a"]["options"] == {"rank": 2}
    assert decisions["Conv_c"]["refusal"] == "the plan leaves it"
    assert decisions["Conv_y"]["refusal"] == "the plan leaves it"
    assert decisions["Conv_y"]["macs"] == {"before": 9 * 9 * 64, "after": 9 * 9 * 64}


def test_what_a_rewrite_makes_can_be_rewritten(tmp_path: Path) -> None:
    plan = write(
        tmp_path / "plan.json",
        **{
            "Conv_a": {"family": "basis", "options": {"rank": 4}},
            "Conv_a.conv0": {"family": "dac", "options": {"rank": 1}},
        },
    )
    named, _ = run_passes(NETWORK, "name_everything")
    Plan.read(plan, catalog.passes()).run(named)
    assert operators(named)[:3] == ["Conv 8x1x3x3 p1 g8", "Conv 4x8x1x1", "Conv 16x4x1x1"]
    assert named.graph[1].metadata_props["edgecc.origin"] == "Conv_a"


@pytest.mark.parametrize(
    ("convolutions", "message"),
    [
        ({"Conv_q": {"family": "dac", "options": {"rank": 1}}}, "names 'Conv_q'"),
        ({"Conv_a": {"family": "dca"}}, "no pass named 'dca'"),
        ({"Conv_a": {"family": "dac", "options": {"ranks": 1}}}, "no option 'ranks'"),
        ({"Conv_a": {"family": "dac", "options": {"rank": "one"}}}, "is not a whole number"),
        ({"Conv_a": {"family": "fold_pad"}}, "which is for whole models"),
        ({"Conv_a": {"famly": "dac"}}, "is not one"),
        ({"Conv_a": 7}, "is not one"),
    ],
)
def test_plans_that_cannot_be_followed(
    save: Save, tmp_path: Path, convolutions: dict[str, object], message: str
) -> None:
    plan = write(tmp_path / "plan.json", **convolutions)
    with pytest.raises(UsageError, match=message):
        job.build(save(NETWORK), plan=plan, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_plans(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the plan"):
        Plan.read(tmp_path / "absent.json", {})
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/plan.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot read the plan") as folder:
        Plan.read(tmp_path / "bundle", {})
    assert "bundle/plan.json" in (folder.value.hint or "")
    for text in ("", "[]", '{"schema_version": 1}'):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(UsageError, match="is not one"):
            Plan.read(tmp_path / "plan.json", {})
    newer = {"schema_version": 99, "model_sha256": "", "convolutions": {}}
    (tmp_path / "plan.json").write_text(json.dumps(newer))
    with pytest.raises(UsageError, match="schema_version 99"):
        Plan.read(tmp_path / "plan.json", {})


def test_the_network_is_what_the_tests_think() -> None:
    assert outputs(NETWORK, x=normal(1, 8, 9, 9))["y"].shape == (1, 4, 9, 9)
