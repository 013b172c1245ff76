"""What narrow networks cost, layer by layer too, against rounding done here."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from classifier import X as IMAGES
from classifier import network as classifier
from helpers import normal, parse
from residual import NETWORK, X
from sampled import batches, copy_of

from edgecc.bundle import save_model
from edgecc.errors import UsageError
from edgecc.planning.evaluate import Evaluation
from edgecc.quantise.accuracy import Judge, split
from edgecc.quantise.qdq import layers, quantise
from edgecc.quantise.ranges import ranges
from edgecc.quantise.sensitivity import choose_kept, sensitivity
from edgecc.quantise.simulate import Simulated, as_float16


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    return save_model(copy_of(model), folder / "model.onnx")


def test_a_network_is_not_off_from_itself(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path)
    found = Judge(path, batches(IMAGES, 8))(path)
    assert found.to_json() == {
        "rms_error": {"y": 0.0},
        "top1_agreement": {"y": 1.0},
        "metric": None,
    }


def test_errors_and_agreement_are_over_all_batches(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path)
    changed = classifier()
    array = onnx.numpy_helper.to_array(changed.graph.initializer[4]) * np.float32(-1)
    changed.graph.initializer[4].CopyFrom(onnx.numpy_helper.from_array(array, "wg"))
    other = save_model(copy_of(changed), tmp_path / "other.onnx")
    found = Judge(path, batches(IMAGES, 5))(other)
    with Simulated(path) as was, Simulated(other) as now:
        a, b = was.run({"x": IMAGES})["y"], now.run({"x": IMAGES})["y"]
    assert found.errors["y"] == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), abs=1e-5)
    assert found.agreement["y"] == np.mean(a.argmax(1) == b.argmax(1))


def test_pictures_have_no_agreement(tmp_path: Path) -> None:
    path = saved(NETWORK, tmp_path)
    assert Judge(path, batches(X, 8))(path).agreement == {}


def test_float16_is_rounded_after_every_node(tmp_path: Path) -> None:
    model = parse(
        "g (float[N,4] x) => (float[N,4] y) { h = Mul(x, w) y = Add(h, w) }", {"w": normal(4)}
    )
    x = normal(50, 4, seed=9)
    w = normal(4).astype(np.float16)
    with Simulated(as_float16(saved(model, tmp_path), tmp_path / "half.onnx")) as session:
        found = session.run({"x": x})["y"]
    h = x.astype(np.float16) * w
    np.testing.assert_array_equal((found + 0).astype(np.float16), h + w)


def test_float16_overflows(tmp_path: Path) -> None:
    model = parse(
        "g (float[N,4] x) => (float[N,4] y) { h = Mul(x, w) y = Div(h, w) }", {"w": normal(4)}
    )
    path = saved(model, tmp_path)
    judge = Judge(path, [{"x": np.full((2, 4), 1e6, np.float32)}])
    half = as_float16(path, tmp_path / "half.onnx")
    assert judge(half).to_json()["rms_error"] == {"y": None}
    assert judge.damage(half) == np.inf


def test_float16_leaves_sizes_exact(tmp_path: Path) -> None:
    """1.3333 is 1.333 in float16, and three rows of four grew to 3 instead of 4."""
    scales = np.array([1, 1, 4 / 3 + 1e-6, 1], np.float32)
    model = parse(
        "g (float[N,4,3,10] x) => (float[N,4,4,10] y) { y = Resize(x, , scales) }",
        {"scales": scales},
    )
    half = as_float16(saved(model, tmp_path), tmp_path / "half.onnx")
    with Simulated(half) as session:
        assert session.run({"x": normal(2, 4, 3, 10)})["y"].shape == (2, 4, 4, 10)


def test_the_users_metric_decides_where_there_is_one(tmp_path: Path) -> None:
    path = saved(NETWORK, tmp_path)
    scale = Evaluation(
        tmp_path / "score.py", "norm", lambda s: float(abs(s.run({"x": X})["y"]).sum())
    )
    judge = Judge(path, batches(X, 8), scale)
    made = quantise(path, ranges(path, batches(X, 8), "minmax"), tmp_path / "int8.onnx").path
    assert judge.metric is not None
    metric = judge(made).metric
    assert metric is not None
    assert judge.damage(made) == judge.metric - metric != 0


def test_inputs_are_checked(tmp_path: Path) -> None:
    with Simulated(saved(NETWORK, tmp_path)) as session, pytest.raises(UsageError, match="missing"):
        session.run({})


@pytest.mark.parametrize(
    ("sizes", "by_sample", "used", "held", "other"),
    [
        ([8] * 8, True, [8] * 6, [8, 8], True),
        ([16], True, [12], [4], True),
        ([8, 4], True, [6, 3], [2, 1], True),
        ([16], False, [16], [16], False),
        ([1], True, [1], [1], False),
    ],
)
def test_a_quarter_is_held_out(
    sizes: list[int], by_sample: bool, used: list[int], held: list[int], other: bool
) -> None:
    starts = np.cumsum([0, *sizes])
    feeds = [{"x": np.arange(a, b)} for a, b in itertools.pairwise(starts)]
    found = split(feeds, by_sample=by_sample)
    assert [len(feed["x"]) for feed in found[0]] == used
    assert [len(feed["x"]) for feed in found[1]] == held
    assert found[2] == other
    both = {int(i) for feed in found[0] for i in feed["x"]} & {
        int(i) for f in found[1] for i in f["x"]
    }
    assert bool(both) != other


def fragile() -> onnx.ModelProto:
    """The second of three convolutions has an input that int8 cannot hold: one huge channel, which
    its weights make small again.
    """
    scale = np.array([1000, 1, 1, 1], np.float32)
    return parse(
        """g (float[N,4,10,10] x) => (float[A,B,C,D] y) {
            a = Conv(x, w0) t = Tanh(a) b = Mul(t, s) c = Conv(b, w1) d = Tanh(c) y = Conv(d, w2)
        }""",
        {
            "w0": normal(4, 4, 1, 1) / 2,
            "s": scale.reshape(1, 4, 1, 1),
            "w1": normal(4, 4, 1, 1, seed=4) / scale.reshape(1, 4, 1, 1),
            "w2": normal(4, 4, 1, 1, seed=5),
        },
    )


def test_the_layer_that_int8_hurts_is_found_and_kept(tmp_path: Path) -> None:
    path = saved(fragile(), tmp_path)
    known = ranges(path, batches(X, 8), "minmax")
    judge = Judge(path, batches(X, 8))

    def lost(kept: Sequence[str]) -> float:
        return judge.damage(quantise(path, known, tmp_path / "int8.onnx", kept).path)

    names = layers(copy_of(fragile()))
    found = sensitivity(names, lost)
    assert next(iter(found)) == "Conv_c"
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert set(found) == set(names)
    whole = lost(())
    kept = choose_kept(list(found), lost, whole / 3)
    assert kept.names == ("Conv_c",)
    assert kept.enough
    assert kept.lost == lost(kept.names) <= whole / 3
    assert choose_kept(list(found), lost, whole).names == ()
    assert choose_kept(list(found), lost, 0.0).names == tuple(found)
    assert not choose_kept(list(found)[1:], lost, 0.0).enough
