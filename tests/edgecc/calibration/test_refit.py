"""The sequential re-fit: every layer fitted to what the rewritten network really feeds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import normal, operators, outputs, parse, run_passes
from sampled import (
    Choose,
    batches,
    copy_of,
    everywhere,
    moved,
    only,
    samples,
    sequential,
    values,
)

from edgecc import catalog
from edgecc.calibration.cache import StatisticsCache
from edgecc.calibration.collect import collect
from edgecc.calibration.moments import REGRESSION_FLOOR
from edgecc.calibration.statistics import SHRINKAGE
from edgecc.plan import Plan
from edgecc.rewrite import ConvRewrite

W = {
    "w0": normal(16, 4, 3, 3) / 4,
    "w1": normal(16, 16, 3, 3, seed=4) / 9,
    "w2": normal(16, 16, 3, 3, seed=5) / 9,
    "w3": normal(8, 16, 1, 1, seed=6) / 3,
    "b0": normal(16, seed=7) / 3,
    "b1": normal(16, seed=8) / 3,
    "b2": normal(16, seed=9) / 3,
    "b3": normal(8, seed=10) / 3,
}
RESIDUAL = parse(
    """g (float[N,4,10,10] x) => (float[A,B,C,D] y) {
        a = Conv <pads=[1,1,1,1]> (x, w0, b0)  b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, w1, b1)  d = Relu(c)
        e = Conv <pads=[1,1,1,1]> (d, w2, b2)  f = Add(e, b)  h = Relu(f)
        y = Conv(h, w3, b3)
    }""",
    W,
)
FITTED, HELD_OUT = samples(24), samples(16, seed=1)


def network(body: str, out: str = "float[A,B,C,D] y", **more: Any) -> onnx.ModelProto:
    weights = {name: array for name, array in {**W, **more}.items() if name in body}
    return parse(f"g (float[N,4,10,10] x) => ({out}) {{ {body} }}", weights)


def weight_of(model: ir.Model, name: str) -> np.ndarray:
    """The filters of a layer as a matrix in float64 (O, I), for kernels of one tap."""
    (node,) = (node for node in model.graph if node.name == name)
    weight = node.inputs[1].const_value.numpy().astype(np.float64)
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        weight = weight.T
    return weight.reshape(len(weight), -1)


def regression(weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares with a ridge towards `weight` (METHODS A.3), for layers without a window."""
    rows, targets = (
        np.moveaxis(each, 1, -1).reshape(-1, each.shape[1]).astype(np.float64) for each in (x, y)
    )
    rows, targets = rows - rows.mean(axis=0), targets - targets.mean(axis=0)
    covariance = rows.T @ rows / len(rows)
    amount = max(REGRESSION_FLOOR, SHRINKAGE * len(covariance) / len(rows))
    ridged = covariance + amount * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    cross = rows.T @ (targets - rows @ weight.T) / len(rows)
    return np.asarray(weight + np.linalg.solve(ridged, cross).T)


def assert_fitted(
    found: ir.Model, name: str, old: np.ndarray, x: np.ndarray, y: np.ndarray, repairs: float = 0.01
) -> None:
    """A layer is the regression of what it should put out on what it is really fed; what it
    repairs is so much of its output at least.
    """
    expected = regression(old, x, y)

    def share(off: np.ndarray) -> float:
        """What other weights do to the output, over its deviation."""
        return float(np.einsum("oc,nc...->no...", off, x).std() / y.std())

    assert share(weight_of(found, name) - expected) < 1e-4
    assert share(expected - old) >= repairs


def one_shot(text: str, scratch: Path) -> ir.Model:
    """Every convolution fitted under its own statistics, as if no other was rewritten."""
    model = copy_of(RESIDUAL)
    (rule,) = catalog.pipeline(text).passes
    assert isinstance(rule, ConvRewrite)
    for layer in list(collect(model, batches(FITTED, 8), scratch, StatisticsCache("t"))):
        assert rule.apply(layer.node, layer.conv, layer.statistics)[0].applied
    return model


def test_each_step_of_the_ladder_is_better(tmp_path: Path) -> None:
    """Half the rank: from the weights alone, under statistics, one after the other."""
    text = "basis(rank=8)"
    blind, _ = run_passes(RESIDUAL, text)
    calibrated = one_shot(text, tmp_path)
    refitted, decisions = sequential(RESIDUAL, FITTED, everywhere(text))
    assert [d.applied for d in decisions] == [True] * 4
    assert operators(blind) == operators(calibrated)
    assert [o.replace(" bias", "") for o in operators(refitted)] == [
        o.replace(" bias", "") for o in operators(blind)
    ]
    errors = [moved(RESIDUAL, model, HELD_OUT) for model in (blind, calibrated, refitted)]
    assert errors[0] > 1.3 * errors[1] > 1.3 * 1.2 * errors[2]


@pytest.mark.parametrize("family", ["basis(rank=8)", "dac(rank=3)", "spatial_svd(rank=6)"])
def test_the_refit_beats_the_weights_alone(family: str) -> None:
    blind, _ = run_passes(RESIDUAL, family)
    refitted, _ = sequential(RESIDUAL, FITTED, everywhere(family))
    assert moved(RESIDUAL, refitted, HELD_OUT) < 0.7 * moved(RESIDUAL, blind, HELD_OUT)


@pytest.mark.parametrize("order", ["Add(s, t)", "Add(t, s)"])
def test_the_end_of_a_branch_repairs_the_shortcut(order: str) -> None:
    """Its own input is as it was; what the shortcut lost is its to make up for."""
    two = {"p": normal(8, 4, 1, 1) / 2, "q": normal(8, 4, 1, 1, seed=4) / 2}
    model = network(f"s = Conv(x, p, b3)  t = Conv(x, q)  y = {order}", **two)
    found, decisions = sequential(model, FITTED, only(Conv_s="basis(rank=1)"))
    assert [(d.node, d.by, d.applied) for d in decisions] == [
        ("Conv_s", "basis", True),
        ("Conv_t", "refit", False),
    ]
    assert moved(model, found, HELD_OUT) < 1e-3
    s, t, s_now = *values(model, FITTED, "s", "t"), *values(found, FITTED, "s")
    assert np.var(s_now - s) > 0.1 * np.var(s)
    assert_fitted(found, "Conv_t", weight_of(copy_of(model), "Conv_t"), FITTED, t + s - s_now)


@pytest.mark.parametrize(
    "order",
    [
        "p = Abs(s)  t = Conv(x, q)",
        "t = Conv(x, q)  p = Abs(s)",
    ],
)
def test_the_order_of_a_branch_and_its_shortcut_does_not_matter(order: str) -> None:
    two = {"r": normal(8, 4, 1, 1) / 2, "q": normal(8, 4, 1, 1, seed=4) / 2}
    model = network(f"s = Conv(x, r)  {order}  y = Add(t, p)", **two)
    found, _ = sequential(model, FITTED, only(Conv_s="basis(rank=1)"))
    t, p, p_now = *values(model, FITTED, "t", "p"), *values(found, FITTED, "p")
    assert_fitted(found, "Conv_t", weight_of(copy_of(model), "Conv_t"), FITTED, t + p - p_now)


def test_a_shortcut_of_slices_and_pads_behind_the_branch_in_the_file() -> None:
    """As the shortcut without weights of ResNet-20, which narrows and widens."""
    model = network(
        """s = Conv <pads=[1,1,1,1]> (x, w0, b0)  h = Relu(s)
        a = Conv <pads=[1,1,1,1], strides=[2,2]> (h, w1)  b = Relu(a)  t = Conv(b, wide)
        p = Slice(h, start, end, axes, steps)  q = Pad(p, by)  y = Add(t, q)""",
        wide=normal(32, 16, 1, 1) / 4,
        start=np.array([0, 0]),
        end=np.array([99, 99]),
        axes=np.array([2, 3]),
        steps=np.array([2, 2]),
        by=np.array([0, 8, 0, 0, 0, 8, 0, 0]),
    )
    found, decisions = sequential(model, FITTED, only(Conv_s="basis(rank=3)"))
    assert [d.node for d in decisions] == ["Conv_s", "Conv_a", "Conv_t"]
    t, q, b_now, q_now = *values(model, FITTED, "t", "q"), *values(found, FITTED, "b", "q")
    old = weight_of(copy_of(model), "Conv_t")
    assert_fitted(found, "Conv_t", old, b_now, t + q - q_now)


def test_what_became_of_a_layer_that_was_not_rewritten_is_told() -> None:
    _, decisions = sequential(RESIDUAL, FITTED, only(Conv_c="basis(rank=6)"))
    assert [d.refusal for d in decisions] == [
        "no rewrite was asked of it: it stays as it is",
        None,
        *["no rewrite was asked of it: it is re-fitted to what the rewritten network feeds it"] * 2,
    ]


@pytest.mark.parametrize("relu_aware", [False, True])
def test_channels_that_never_change_are_rewritten(relu_aware: bool) -> None:
    """Behind a ReLU that is dead, a layer puts out its bias."""
    model = network(
        """a = Conv <pads=[1,1,1,1]> (x, w0, low)  b = Relu(a)  c = Conv(b, wn, level)  d = Relu(c)
        e = Conv(d, wn, level)  h = Relu(e)  k = Conv <pads=[1,1,1,1]> (x, w0, b0)  f = Add(h, k)
        g = Relu(f)  y = Conv(g, w3)""",
        low=np.full(16, -1e4, np.float32),
        wn=normal(16, 16, 1, 1, seed=3),
        level=np.linspace(0.1, 0.8, 16, dtype=np.float32),
    )
    found, decisions = sequential(
        model, FITTED, everywhere("basis(rank=2)"), relu_aware=relu_aware, size=5
    )
    assert all(d.applied for d in decisions)
    assert moved(model, found, HELD_OUT) < 0.5


def test_a_sum_that_broadcasts_is_no_residual_sum() -> None:
    model = network(
        "s = Conv(x, p)  m = GlobalAveragePool(s)  t = Conv(x, q)  y = Add(t, m)",
        p=normal(8, 4, 1, 1) / 2,
        q=normal(8, 4, 1, 1, seed=4) / 2,
    )
    found, _ = sequential(model, FITTED, only(Conv_s="basis(rank=1)"))
    assert np.array_equal(weight_of(found, "Conv_t"), weight_of(copy_of(model), "Conv_t"))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", ["", ", bg", ", one"])
def test_a_gemm_behind_a_rewritten_layer_is_refitted(transposed: int, bias: str) -> None:
    weight = normal(5, 64, seed=11) / 8
    model = network(
        """a = Conv <pads=[1,1,1,1]> (x, w0, b0)  b = Relu(a)
        p = AveragePool <kernel_shape=[5,5], strides=[5,5]> (b)  f = Flatten(p)"""
        f"y = Gemm <transB={transposed}> (f, wg{bias})",
        "float[A,B] y",
        wg=weight if transposed else np.ascontiguousarray(weight.T),
        bg=normal(5, seed=12),
        one=np.float32(0.5),
    )
    x = samples(32)
    found, decisions = sequential(model, x, only(Conv_a="basis(rank=4)"))
    assert [d.node for d in decisions] == ["Conv_a"]
    gemm = found.graph[-1]
    assert gemm.attributes.get_int("transB", 0) == 1
    assert gemm.inputs[2].const_value.shape == (5,)
    assert len(found.graph.initializers) == 5  # two and two, and the bias between
    before, after = values(model, x, "f", "y"), values(found, x, "f", "y")
    assert_fitted(found, "Gemm_y", weight.astype(np.float64), after[0], before[1])
    assert np.abs(after[1].mean(axis=0) - before[1].mean(axis=0)).max() < 1e-4


def test_a_convolution_without_bias_is_given_one() -> None:
    model = network("a = Conv <pads=[1,1,1,1]> (x, w0)  b = Relu(a)  y = Conv(b, w3)")
    found, _ = sequential(model, FITTED, only(Conv_a="basis(rank=4)"))
    assert operators(found) == [
        "Conv 4x4x3x3 p1",
        "Conv 16x4x1x1 bias",
        "Relu",
        "Conv 8x16x1x1 bias",
    ]
    b, y = values(found, FITTED, "b", "y")
    (target,) = values(model, FITTED, "y")
    assert_fitted(found, "Conv_y", weight_of(copy_of(model), "Conv_y"), b, target)
    assert np.abs(y.mean(axis=(0, 2, 3)) - target.mean(axis=(0, 2, 3))).max() < 1e-4


def test_shared_weights_stay_shared() -> None:
    model = network(
        """r = Conv <pads=[1,1,1,1]> (x, w0, b0)  s = Conv(r, wl)
        a = Conv <pads=[1,1,1,1]> (s, w1, b1)  b = Relu(a)  t = Conv(b, wl)
        y = Concat <axis=1> (s, t)""",
        wl=normal(16, 16, 1, 1) / 4,
    )
    found, _ = sequential(model, FITTED, only(Conv_a="basis(rank=4)"))
    old = weight_of(copy_of(model), "Conv_s")
    assert np.array_equal(weight_of(found, "Conv_s"), old)
    assert np.array_equal(weight_of(found, "Conv_t"), old)


def test_nothing_rewritten_changes_no_byte() -> None:
    before = ir.to_proto(copy_of(RESIDUAL)).SerializeToString()
    for choose in (only(), everywhere("dac(energy=0.9999, at_most=0.01)")):
        found, decisions = sequential(RESIDUAL, FITTED, choose)
        assert not any(d.applied for d in decisions)
        assert ir.to_proto(found).SerializeToString() == before


@pytest.mark.parametrize("family", ["basis", "dac", "spatial_svd", "tucker2"])
def test_full_rank_changes_no_number(family: str) -> None:
    found, decisions = sequential(RESIDUAL, FITTED, everywhere(f"{family}(rank=1000)"))
    assert any(d.applied for d in decisions)
    y = outputs(RESIDUAL, x=HELD_OUT)["y"]
    gap = outputs(found, x=HELD_OUT)["y"] - y
    assert np.abs(gap).max() < 1e-5 * np.abs(y).max()


def test_what_a_rewrite_makes_can_be_rewritten() -> None:
    """As a plan with steps for the convolutions that its own steps make."""
    steps = only(
        Conv_a="basis(rank=8)",
        **{"Conv_c": "spatial_svd(rank=8)", "Conv_c.conv0": "basis(rank=6)", "Conv_e": "basis"},
    )
    plan = Plan("0", {n: steps(n, None)[0] for n in ("Conv_a", "Conv_c", "Conv_c.conv0")})
    found, decisions = sequential(RESIDUAL, FITTED, plan.chooser())
    by_node = {d.node: d for d in decisions}
    assert by_node["Conv_c.conv0"].by == "basis"
    assert set(by_node["Conv_c"].made) == {
        *by_node["Conv_c.conv0"].made,
        by_node["Conv_c"].made[-1],
    }
    plan.check({name for d in decisions for name in (d.node, *d.made)})
    assert operators(found)[3:6] == [
        "Conv 6x16x3x1 p1,0,1,0",
        "Conv 8x6x1x1 bias",
        "Conv 16x8x1x3 p0,1,0,1 bias",
    ]
    shallow, _ = sequential(
        RESIDUAL, FITTED, only(Conv_a="basis(rank=8)", Conv_c="spatial_svd(rank=8)")
    )
    assert moved(RESIDUAL, shallow, HELD_OUT) < moved(RESIDUAL, found, HELD_OUT) < 0.3


def test_composition_is_refitted_at_its_end() -> None:
    """Of what a rewrite made, the last layer repairs what the rewrite of the first lost."""
    model = network("y = Conv(x, p, b3)", p=normal(8, 4, 3, 3) / 6)
    steps = only(**{"Conv_y": "basis(rank=8)", "Conv_y.conv0": "basis(rank=4)"})
    found, _ = sequential(model, FITTED, steps)
    assert operators(found) == ["Conv 4x4x3x3", "Conv 8x4x1x1 bias", "Conv 8x8x1x1 bias"]
    (hidden,) = values(found, FITTED, found.graph[1].outputs[0].name)
    (target,) = values(model, FITTED, "y")
    (first,) = sequential(model, FITTED, only(Conv_y="basis(rank=8)"))[:1]
    old = weight_of(first, "Conv_y.conv1")
    assert_fitted(found, "Conv_y.conv1", old, hidden, target, repairs=0)


LEFT: dict[str, tuple[str, dict[str, Any], str]] = {
    "transposed": (
        "c = ConvTranspose <pads=[1,1,1,1]> (b, wt)",
        {"wt": normal(16, 16, 3, 3) / 12},
        "it is a transposed convolution",
    ),
    "weights computed at run time": (
        "k = Mul(w1, two)  c = Conv <pads=[1,1,1,1]> (b, k)",
        {"two": np.float32(2)},
        "its weights are computed at run time",
    ),
    "weights that a rewritten layer computes": (
        "g = GlobalAveragePool(b)  m = ReduceMean <axes=[0]> (g)  k = Reshape(m, s)"
        "  c = Conv(x, k)",
        {"s": np.array([4, 4, 1, 1])},
        "its weights are computed at run time",
    ),
    "very many inputs": (
        "r = Reshape(b, s)  e = Expand(r, t)  g = Reshape(e, u)  c = Conv(g, wide)",
        {
            "s": np.array([0, 1600, 1, 1]),
            "t": np.array([1, 1600, 6, 1]),
            "u": np.array([0, 9600, 1, 1]),
            "wide": normal(4, 9600, 1, 1) / 50,
        },
        "it stays as it is: a filter sees 9600 numbers, and up to 8192 are fitted",
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_cannot_be_fitted_is_left_and_followed(case: str) -> None:
    """What stands behind is fitted to what really comes through."""
    body, more, why = LEFT[case]
    wide = 4 if case in ("weights that a rewritten layer computes", "very many inputs") else 16
    model = network(
        f"a = Conv <pads=[1,1,1,1]> (x, w0, b0)  b = Relu(a)  {body}  d = Relu(c)  y = Conv(d, wl)",
        wl=normal(6, wide, 1, 1) / 3,
        **more,
    )
    rule = everywhere("basis(rank=4)")
    found, decisions = sequential(
        model, FITTED, lambda name, by: rule(name, by) if name != "Conv_y" else [], size=24
    )
    told = {d.node: d.refusal for d in decisions}
    assert told["Conv_a"] is None
    assert next(v for n, v in told.items() if n.endswith("_c")) == why
    d, target = values(found, FITTED, "d")[0], values(model, FITTED, "y")[0]
    assert_fitted(found, "Conv_y", weight_of(copy_of(model), "Conv_y"), d, target)


def test_a_convolution_inside_a_subgraph_is_followed() -> None:
    model = parse(
        """g (float[N,4,10,10] x) => (float[A,B,C,D] y) {
            a = Conv <pads=[1,1,1,1]> (x, w0, b0)  b = Relu(a)
            c = If (yes) <
                then_branch = one () => (float[N,16,10,10] p) { p = Conv <pads=[1,1,1,1]> (b, w1) },
                else_branch = two () => (float[N,16,10,10] q) { q = Relu(b) }
            >
            y = Conv(c, w3)
        }""",
        {**{name: W[name] for name in ("w0", "b0", "w1", "w3")}, "yes": np.array(True)},
    )
    rule = everywhere("basis(rank=4)")
    found, decisions = sequential(model, FITTED, lambda n, by: rule(n, by) if n == "Conv_a" else [])
    assert [d.node for d in decisions] == ["Conv_a", "Conv_y"]
    (target,) = values(model, FITTED, "y")
    (c,) = values(found, FITTED, "c")
    assert_fitted(found, "Conv_y", weight_of(copy_of(model), "Conv_y"), c, target)


def relu_errors(model: onnx.ModelProto, choose: Choose, value: str) -> list[float]:
    """What a value behind a ReLU is off on the samples, without looking at the ReLU and with."""
    (target,) = values(model, FITTED, value)
    found = []
    for relu_aware in (False, True):
        rewritten, _ = sequential(model, FITTED, choose, relu_aware=relu_aware)
        (made,) = values(rewritten, FITTED, value)
        found.append(float(np.mean((made - target) ** 2) / np.mean(target**2)))
    return found


def test_looking_at_the_relu_lowers_what_is_lost_behind_it() -> None:
    model = network("a = Conv <pads=[1,1,1,1]> (x, w0, b0)  y = Relu(a)")
    for family in ("basis(rank=3)", "dac(rank=1)", "spatial_svd(rank=2)"):
        without, aware = relu_errors(model, only(Conv_a=family), "y")
        assert aware < 0.98 * without, family


def test_looking_at_the_relu_behind_a_residual_sum() -> None:
    choose = only(Conv_a="basis(rank=6)", Conv_e="basis(rank=4)")
    without, aware = relu_errors(RESIDUAL, choose, "h")
    assert aware < 0.98 * without


def test_where_no_relu_follows_it_makes_no_difference() -> None:
    model = network("a = Conv <pads=[1,1,1,1]> (x, w0, b0)  y = Tanh(a)")
    bytes_of = [
        ir.to_proto(
            sequential(model, FITTED, everywhere("basis(rank=3)"), relu_aware=aware)[0]
        ).SerializeToString()
        for aware in (False, True)
    ]
    assert bytes_of[0] == bytes_of[1]


@pytest.mark.parametrize("relu_aware", [False, True])
def test_the_same_again_gives_the_same_bytes(relu_aware: bool) -> None:
    first, again = (
        sequential(RESIDUAL, FITTED, everywhere("basis(rank=6)"), relu_aware=relu_aware)[0]
        for _ in range(2)
    )
    assert ir.to_proto(first).SerializeToString() == ir.to_proto(again).SerializeToString()


def test_batches_of_another_size_give_nearly_the_same() -> None:
    """Not the same bytes: that is promised for the same samples in the same batches."""
    eight, three = (
        sequential(RESIDUAL, FITTED, everywhere("basis(rank=6)"), relu_aware=False, size=size)[0]
        for size in (8, 3)
    )
    gap = outputs(eight, x=HELD_OUT)["y"] - outputs(three, x=HELD_OUT)["y"]
    assert np.abs(gap).max() < 1e-3


def test_progress_names_every_layer() -> None:
    told: list[str] = []
    sequential(RESIDUAL, FITTED, only(), tell=told.append)
    assert told == ["Conv_a", "Conv_c", "Conv_e", "Conv_y"]
