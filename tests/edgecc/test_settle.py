"""From what is asked to what is done: samples read, plans made or followed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import normal, outputs, parse
from residual import FAMILIES, NETWORK, W, X, decided
from sampled import cost_of, samples

from edgecc import catalog, distance, job, preview
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.errors import BudgetError, ModelError, UsageError
from edgecc.planning.budget import Goal
from edgecc.planning.search import TRIALS
from edgecc.request import Request
from edgecc.settle import Workplace, settle
from edgecc.target import Target

Save = Callable[..., Path]


def network(body: str, batch: str = "N", **more: Any) -> onnx.ModelProto:
    weights = {name: array for name, array in {**W, **more}.items() if name in body}
    return parse(f"g (float[{batch},4,10,10] x) => (float[A,B,C,D] y) {{ {body} }}", weights)


def test_a_budget_is_met_by_what_is_built(model: Path, calib: Path, tmp_path: Path) -> None:
    built = job.build(model, macs=0.5, calib=calib, families=FAMILIES, out=tmp_path / "out")
    report = built.report
    assert report["macs"]["after"] <= 0.5 * report["macs"]["before"]
    counted = cost_of(ir.load(built.folder / "model.onnx"), X)
    assert counted.macs == report["macs"]["after"]
    assert report["rewrites"] == "plan"
    assert report["goal"] == {"macs": 0.5}
    assert report["calibration"]["samples"] == 24
    assert report["planning"]["predicted"]["macs"] == pytest.approx(
        report["macs"]["after"] / report["macs"]["before"], abs=1e-4
    )
    plan = json.loads((built.folder / "plan.json").read_text())
    assert plan["goal"] == {"macs": 0.5}
    assert plan["calibration"] == {
        "name": "x.npz",
        "sha256": report["calibration"]["sha256"],
        "relu_aware": True,
    }
    assert set(plan["convolutions"]) == {"Conv_a", "Conv_c", "Conv_y"}


def test_explain_says_what_build_does(model: Path, calib: Path, tmp_path: Path) -> None:
    asked: Any = {"macs": "50%", "params": 0.6, "calib": calib, "families": FAMILIES}
    built = job.build(model, out=tmp_path / "out", **asked).report
    explained = preview.explain(model, **asked)
    for key in ("decisions", "macs", "params", "goal", "calibration", "planning"):
        assert explained[key] == built[key]


def test_samples_repair_what_the_weights_alone_lose(
    model: Path, calib: Path, tmp_path: Path
) -> None:
    reference = outputs(NETWORK, x=X)["y"]
    gap = []
    for source in (None, calib):
        built = job.build(model, passes="basis(rank=5)", calib=source, out=tmp_path / "out")
        gap.append(
            np.mean((outputs(ir.load(built.folder / "model.onnx"), x=X)["y"] - reference) ** 2)
        )
    assert gap[1] < 0.6 * gap[0]


def test_what_the_user_wants_kept_is_kept(model: Path, calib: Path, tmp_path: Path) -> None:
    report = preview.explain(model, macs=0.7, calib=calib, families="basis", keep="Conv_a, *_y")
    assert decided(report) == {"Conv_a": None, "Conv_c": "basis", "Conv_y": None}
    assert list(report["planning"]["convolutions"]) == ["Conv_c"]
    assert report["macs"]["after"] <= 0.7 * report["macs"]["before"]
    with pytest.raises(UsageError, match="no convolution is called 'Conv_b'") as caught:
        preview.explain(model, macs=0.5, keep="Conv_a, Conv_b")
    assert "did you mean Conv_" in str(caught.value.hint)
    with pytest.raises(BudgetError, match=r"--macs 0\.5") as nothing:
        preview.explain(model, macs=0.5, keep="*")
    assert nothing.value.hint == "the nearest that can be reached is --macs 1"


def test_only_the_families_that_are_named_are_chosen(model: Path, calib: Path) -> None:
    for families in ("spatial_svd", "dac", "tucker2, basis"):
        report = preview.explain(model, macs=0.6, calib=calib, families=families)
        chosen = set(decided(report).values()) - {None}
        assert chosen
        assert chosen <= set(families.split(", "))


def test_a_small_error_costs_little_and_a_large_one_much(model: Path, calib: Path) -> None:
    kept = []
    for error in (0.02, "60%"):
        report = preview.explain(model, max_error=error, calib=calib, families=FAMILIES)
        kept.append(report["macs"]["after"])
    assert kept[0] > kept[1]


def test_an_error_is_kept_on_the_samples(model: Path, calib: Path, tmp_path: Path) -> None:
    built = job.build(model, max_error=0.2, calib=calib, families=FAMILIES, out=tmp_path / "out")
    reference = outputs(NETWORK, x=X)["y"]
    gap = outputs(ir.load(built.folder / "model.onnx"), x=X)["y"] - reference
    assert 0.02 < np.sqrt(np.mean(gap**2)) / np.sqrt(np.mean(reference**2)) <= 0.2


def test_what_was_tried_is_recorded(model: Path, calib: Path, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(
        "import numpy as np\n"
        f"X = np.load({str(calib)!r})['x']\n"
        "def score(session):\n    return float(session.run({'x': X})['y'].std())\n"
    )
    asked: Any = {"calib": calib, "families": FAMILIES}
    asked |= {"max_drop": 0.02, "evaluation": f"{tmp_path}/score.py:score"}
    built = job.build(model, out=tmp_path / "out", **asked)
    search, plan = built.report["search"], json.loads((tmp_path / "out/plan.json").read_text())
    assert plan["search"] == search
    original = float(outputs(NETWORK, x=X)["y"].std())
    reached = float(outputs(ir.load(built.folder / "model.onnx"), x=X)["y"].std())
    assert search["original"]["metric"] == pytest.approx(original, rel=1e-4)
    assert search["reached"]["metric"] == pytest.approx(reached, rel=1e-4)
    share = built.report["macs"]["after"] / built.report["macs"]["before"]
    assert search["reached"]["fraction"] == pytest.approx(share, abs=1e-3)
    assert 1 < len(search["trials"]) <= TRIALS
    for trial in search["trials"]:
        assert trial["accepted"] == (trial["metric"] >= original - 0.02)
    followed = preview.explain(model, plan=tmp_path / "out/plan.json", calib=calib)
    assert followed["search"] == search
    assert followed["planning"] is None


def test_without_a_loss_nothing_is_tried(model: Path, calib: Path) -> None:
    assert preview.explain(model, macs=0.6, calib=calib, families="basis")["search"] is None
    assert preview.explain(model, passes="basis(rank=4)")["search"] is None


def test_outputs_are_compared_on_the_samples(model: Path, calib: Path, tmp_path: Path) -> None:
    """Where the user gave no inputs."""
    report = job.build(model, macs=0.5, calib=calib, families="basis", out=tmp_path / "out").report
    verify = report["verify"]
    assert verify["on"] == {"kind": "calibration", "name": "x.npz", "samples": 24}
    assert verify["inputs"]["kind"] == "random"
    found = outputs(ir.load(tmp_path / "out/model.onnx"), x=X)["y"]
    gap = np.abs(found - outputs(NETWORK, x=X)["y"]).max()
    assert verify["max_abs_error"] == pytest.approx(gap, rel=0.01)
    np.savez(tmp_path / "mine.npz", x=X[:1])
    mine = job.build(
        model, macs=0.5, calib=calib, families="basis", inputs=tmp_path / "mine.npz",
        out=tmp_path / "out",
    ).report["verify"]  # fmt: skip
    assert mine["on"] == mine["inputs"]
    made_up = job.build(model, macs=0.5, families="basis", out=tmp_path / "out").report["verify"]
    assert made_up["on"] == {"kind": "calibration", "name": "synthetic", "samples": 64}


@pytest.mark.parametrize("batch", ["N", "5"])
def test_many_samples_are_not_all_compared(
    save: Save, calib: Path, tmp_path: Path, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distance, "MOST_SAMPLES", 7)
    model = save(network("a = Conv(x, w0)  b = Relu(a)  y = Conv(b, w1)", batch=batch))
    np.savez(calib, x=samples(70))
    built = job.build(model, passes="basis(rank=4)", calib=calib, out=tmp_path / "out")
    assert built.report["verify"]["on"]["samples"] == {"N": 64, "5": 10}[batch]


def test_what_stood_in_between_was_never_counted(model: Path, calib: Path) -> None:
    report = preview.explain(model, passes="spatial_svd(rank=6), basis(rank=2)", calib=calib)
    own = [d for d in report["decisions"] if d["convolution"] in ("Conv_a", "Conv_c", "Conv_y")]
    parts = [d for d in report["decisions"] if d not in own]
    assert sum(d["macs"]["before"] for d in own) == report["macs"]["before"]
    assert sum(d["macs"]["after"] for d in own) == report["macs"]["after"]
    assert {d["macs"]["before"] for d in parts if d["family"]} == {None}
    assert all(d["macs"]["after"] > 0 for d in parts)


def test_a_target_decides_the_granule_and_the_prices(model: Path, calib: Path) -> None:
    told = {}
    for target in ("host", "rpi4", "xavier"):
        report = preview.explain(model, target, macs=0.5, calib=calib, families="basis")
        told[target] = report["planning"]["prices"]
    assert all(target in prices for target, prices in told.items())


def test_a_board_without_peaks_can_be_budgeted_by_macs(tmp_path: Path) -> None:
    board = Target(
        name="b",
        title="t",
        arch="host",
        backend="onnxruntime",
        backends=("onnxruntime",),
        passes="",
    )
    graph = ir.from_proto(NETWORK)
    catalog.prepare().run(graph)
    place = Workplace(graph, "0", {"x": (1, 4, 10, 10)}, cost_of(graph, X), board, tmp_path)
    request = Request(goal=Goal.parse(macs=0.5), families="basis")
    settled = settle(request, place)
    assert settled.goal == {"macs": 0.5}
    assert settled.account is not None
    assert set(settled.account["predicted"]) == {"macs", "params"}
    for quantity in ("latency", "energy"):
        timed = Request(goal=Goal.parse(**{quantity: 0.5}), families="basis")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"has no \[peaks\]"):
            settle(timed, place)


ODD: dict[str, tuple[onnx.ModelProto, dict[str, Any]]] = {
    "a fixed batch": (
        network("a = Conv(x, w0)  b = Relu(a)  y = Conv(b, w1)", batch="4"),
        {"macs": 0.5},
    ),
    "a fixed batch that does not divide what is watched": (
        network("a = Conv(x, w0, b0)  b = Relu(a)  y = Conv(b, w1, b1)", batch="65"),
        {"params": 0.8},
    ),
    "channels that never change": (
        network(
            """a = Conv <pads=[1,1,1,1]> (x, w0, low)  b = Relu(a)  c = Conv(b, wn, level)
            d = Conv(c, wm)  e = Conv <pads=[1,1,1,1]> (x, w0)  f = Add(d, e)  y = Conv(f, w1)""",
            batch="8",
            low=np.full(12, -1e4, np.float32),
            wn=normal(8, 12, 1, 1),
            level=np.linspace(0.1, 0.8, 8, dtype=np.float32),
            wm=normal(12, 8, 1, 1),
        ),
        {"passes": "basis(rank=2)"},
    ),
    "no convolution, and a loss allowed": (network("y = Relu(x)"), {"max_error": 0.1}),
    "a loss of nothing": (NETWORK, {"max_error": 0, "families": "basis"}),
}


@pytest.mark.parametrize("case", ODD)
def test_networks_and_wishes_out_of_the_ordinary(
    case: str, save: Save, calib: Path, tmp_path: Path
) -> None:
    model, asked = ODD[case]
    np.savez(calib, x=samples(130))
    report = job.build(save(model), calib=calib, out=tmp_path / "out", **asked).report
    for quantity in ("macs", "params"):
        if quantity in asked:
            assert report[quantity]["after"] <= asked[quantity] * report[quantity]["before"]


@pytest.mark.parametrize("asked", [{"passes": "basis(rank=4)"}, {"macs": 0.5}])
def test_a_network_that_says_it_takes_any_batch_and_does_not(
    save: Save, calib: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    model = parse(
        """g (float[N,4,10,10] x) => (float[A,B] y) {
            a = Conv(x, w0)  b = Relu(a)  c = Reshape(b, one)  y = Gemm(c, wg)
        }""",
        {"w0": W["w0"], "one": np.array([1, -1]), "wg": normal(768, 3) / 30},
    )
    with pytest.raises(ModelError) as caught:
        job.build(save(model), calib=calib, out=tmp_path / "out", **asked)
    assert "--shape" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"macs": 0.5, "passes": "basis"}, "--passes and a budget exclude each other"),
        ({"macs": 0.5, "plan": "plan.json"}, "--plan and a budget exclude each other"),
        ({"passes": "basis", "plan": "plan.json"}, "--passes and --plan exclude each other"),
        ({"passes": "", "max_error": 0.1}, "--passes and a budget exclude each other"),
        ({"max_drop": "1%"}, "--max-drop and --eval belong together"),
        ({"families": "basis"}, "no plan is asked for"),
        ({"keep": "conv1", "passes": "basis"}, "no plan is asked for"),
        ({"relu_aware": True}, "looking at a ReLU takes samples"),
        ({"prices": "prices.json"}, "no plan is asked for that weighs them"),
        ({"prices": "prices.json", "passes": "basis"}, "no plan is asked for that weighs them"),
        ({"passes": "basis", "samples": 8}, "--samples says how many are taken, and there are no"),
        ({"preprocessing": Preprocessing(scale=0.5)}, "--image-.* how samples become inputs, and"),
        ({"macs": 1.5}, "a budget of 1.5 for macs is not above 0 and at most 1"),
        ({"max_error": 2}, "an error of 2 is not within 0 and 1"),
    ],
)
def test_wishes_that_contradict_each_other(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Request.of(**asked)
    assert caught.value.hint


def test_a_goal_takes_synthetic_samples_where_none_are_given() -> None:
    assert Request.of(macs=0.5).source == "synthetic"
    assert Request.of(macs=0.5, calib="x.npz").source == "x.npz"
    assert Request.of(passes="basis").source is None
    assert Request.of().source is None
