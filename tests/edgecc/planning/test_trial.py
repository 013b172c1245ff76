"""What a rewritten network lost, in onnxruntime: of its outputs, of the user's own metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import normal, outputs, parse, run_passes
from sampled import batches, copy_of, planned, samples

from edgecc import catalog
from edgecc.errors import UsageError
from edgecc.planning.budget import Budget, Drop, Goal
from edgecc.planning.evaluate import Evaluation
from edgecc.planning.search import smallest
from edgecc.planning.trial import Trial

W = {
    "w0": normal(12, 4, 3, 3) / 6,
    "w1": normal(8, 12, 3, 3, seed=4) / 10,
    "w2": normal(5, 12, 1, 1, seed=5) / 3,
}
NETWORK = parse(
    """g (float[N,4,10,10] x) => (float[A,B,C,D] y, float[E,F,G,H] z) {
        a = Conv <pads=[1,1,1,1]> (x, w0)  b = Relu(a)
        y = Conv <pads=[1,1,1,1]> (b, w1)  z = Conv(b, w2)
    }""",
    W,
)
X = samples(10)


def trial(
    tmp_path: Path, goal: Goal, evaluation: Evaluation | None = None, model: Any = NETWORK
) -> Trial:
    feeds = batches(X, 4)
    return Trial(goal, evaluation, copy_of(model), feeds, catalog.open_model, tmp_path)


def rewritten(text: str, model: onnx.ModelProto = NETWORK) -> ir.Model:
    return run_passes(model, "name_everything, " + text)[0]


def error_of(model: ir.Model) -> float:
    """RMS of what the worst output moved, over its own RMS."""
    before, after = outputs(NETWORK, x=X), outputs(model, x=X)
    return max(
        float(
            np.sqrt(np.sum((after[name] - before[name]) ** 2, dtype=np.float64))
            / np.sqrt(np.sum(before[name] ** 2, dtype=np.float64))
        )
        for name in before
    )


@pytest.fixture
def scored(tmp_path: Path) -> Callable[[str], Evaluation]:
    """An evaluation whose function, of a session, is the text."""

    def write(text: str) -> Evaluation:
        (tmp_path / "score.py").write_text(f"import numpy as np\ndef score(session):\n    {text}\n")
        return Evaluation.read(f"{tmp_path}/score.py:score")

    return write


MEAN = "x = np.ones((2, 4, 10, 10), np.float32); return float(session.run({'x': x})['y'].mean())"


@pytest.mark.parametrize("rank", [1, 4, 7])
def test_the_largest_error_is_of_the_worst_output(tmp_path: Path, rank: int) -> None:
    model = rewritten(f"basis(rank={rank})")
    error = error_of(model)
    for allowed in (0.99 * error, 1.01 * error):
        verdict = trial(tmp_path, Goal(max_error=allowed))(model)
        assert verdict.accepted == (allowed > error)
        told = float(verdict.told.removeprefix("outputs moved by "))
        assert told == pytest.approx(error, rel=0.01)


def test_the_network_itself_moves_nothing(tmp_path: Path) -> None:
    assert trial(tmp_path, Goal(max_error=1e-6))(copy_of(NETWORK)).accepted


def test_an_error_of_nothing_is_a_goal(tmp_path: Path) -> None:
    judge = trial(tmp_path, Goal(max_error=0.0))
    assert judge(copy_of(NETWORK)).accepted
    assert not judge(rewritten("basis(rank=2)")).accepted


@pytest.mark.parametrize(("drop", "accepted"), [(Drop(10.0), True), (Drop(0.0), False)])
def test_the_users_metric_may_drop_so_far(
    tmp_path: Path, scored: Callable[[str], Evaluation], drop: Drop, accepted: bool
) -> None:
    model = rewritten("basis(rank=2)")
    ones = np.ones((2, 4, 10, 10), np.float32)
    was = float(outputs(NETWORK, x=ones)["y"].mean())
    now = float(outputs(model, x=ones)["y"].mean())
    sign = -1 if now > was else 1  # so that it is worse
    evaluation = scored(MEAN.replace("return float", f"return {sign} * float"))
    verdict = trial(tmp_path, Goal(max_drop=drop), evaluation)(model)
    assert verdict.accepted is accepted
    assert verdict.told == f"metric {sign * now:.6g}, was {sign * was:.6g}"
    better = scored(MEAN.replace("return float", f"return {-sign} * float"))
    assert trial(tmp_path, Goal(max_drop=Drop(0.0)), better)(model).accepted


def test_percent_of_a_metric_in_percent(
    tmp_path: Path, scored: Callable[[str], Evaluation]
) -> None:
    """Accuracy in 0..100: two points lost."""
    text = "return 90.0 - 2 * (np.abs(session.run({'x': np.ones((1, 4, 10, 10), np.float32)})"
    text += f"['y'] - {float(outputs(NETWORK, x=np.ones((1, 4, 10, 10), np.float32))['y'].flat[0])}"
    evaluation = scored(text + ").flat[0] > 1e-4)")
    model = rewritten("basis(rank=2)")
    for drop, accepted in ((Drop(2.0, percent=True), True), (Drop(1.0, percent=True), False)):
        verdict = trial(tmp_path, Goal(max_drop=drop), evaluation)(model)
        assert verdict.told == "metric 88, was 90"
        assert verdict.accepted is accepted


def test_all_that_is_asked_must_hold(tmp_path: Path, scored: Callable[[str], Evaluation]) -> None:
    model, always = rewritten("basis(rank=2)"), scored("return 1.0")
    goal = Goal(max_error=1.0, max_drop=Drop(0.0))
    verdict = trial(tmp_path, goal, always)(model)
    assert verdict.accepted
    assert verdict.told.startswith("outputs moved by ")
    assert verdict.told.endswith(", metric 1, was 1")
    goal = Goal(max_error=0.01, max_drop=Drop(0.0))
    assert not trial(tmp_path, goal, always)(model).accepted


@pytest.mark.parametrize("text", ["return None", "return float('nan')", "raise OSError('no data')"])
def test_a_metric_that_fails_is_told_at_once(
    tmp_path: Path, scored: Callable[[str], Evaluation], text: str
) -> None:
    with pytest.raises(UsageError, match=r"score\.py"):
        trial(tmp_path, Goal(max_drop=Drop(0.1)), scored(text))


def test_a_metric_that_fails_later_is_told_then(
    tmp_path: Path, scored: Callable[[str], Evaluation]
) -> None:
    text = f"import os; os.mkdir('{tmp_path / 'been here'}'); return 1.0"
    judge = trial(tmp_path, Goal(max_drop=Drop(0.1)), scored(text))
    with pytest.raises(UsageError, match="FileExistsError"):
        judge(copy_of(NETWORK))


def test_outputs_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = rewritten("basis(rank=2)")
    name = next(name for name in model.graph.initializers if name.startswith("Conv_y"))
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(np.full_like(value.const_value.numpy(), np.nan), name=name)
    assert not trial(tmp_path, Goal(max_error=1.0))(model).accepted


def test_an_output_of_zeros_may_not_move(tmp_path: Path) -> None:
    zeros = parse(
        """g (float[N,4,10,10] x) => (float[A,B,C,D] y) { a = Conv(x, w0)  y = Mul(a, none) }""",
        {"w0": W["w0"], "none": np.float32(0)},
    )
    judge = trial(tmp_path, Goal(max_error=0.1), model=zeros)
    assert judge(copy_of(zeros)).accepted


def test_what_the_search_finds_keeps_the_error_on_the_samples(tmp_path: Path) -> None:
    """As computed here on the network that it makes."""
    made = planned(NETWORK, X, "basis, spatial_svd")
    judge, told = trial(tmp_path, Goal(max_error=0.25)), list[str]()
    within = Budget("macs", 1.0)
    outcome = smallest(made.planner, [within], lambda s: judge(made.rewritten(s)), told.append)
    found = outcome.selection
    assert error_of(made.rewritten(found)) <= 0.25
    assert made.cost_of(found).macs < 0.9 * made.whole.macs
    assert any("refused: outputs moved by" in line for line in told)
    low = made.planner.within([Budget("macs", made.planner.costs.fraction("macs", found) - 0.03)])
    assert error_of(made.rewritten(low)) > 0.2
