"""How much the output feels an error in each layer: measured, and so measured here again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from correlated import lost
from helpers import normal, outputs, parse
from sampled import batches, copy_of, samples

from edgecc import catalog
from edgecc.calibration.cache import StatisticsCache
from edgecc.calibration.collect import Layer, collect
from edgecc.conv import is_convolution
from edgecc.planning.sensitivity import LOST, SMOOTHING, Probe, measure, probe
from edgecc.planning.survey import survey

W = {
    "w0": normal(12, 4, 3, 3) / 6,
    "w1": normal(12, 12, 3, 3, seed=4) / 10,
    "w2": normal(6, 12, 1, 1, seed=5) / 3,
    "wg": normal(6, 2, 3, 3, seed=6) / 4,
    "wd": normal(4, 1, 3, 3, seed=7) / 3,
    "ws": normal(1, 12, 3, 3, seed=12) / 9,
    "wp": normal(2, 2, 3, 3, seed=13) / 4,
    "b0": normal(12, seed=8) / 3,
    "zero": np.float32(0),
    "two": np.float32(2),
    "many": np.float32(100),
}
X = samples(12)
PLAIN = """a = Conv <pads=[1,1,1,1]> (x, w0, b0)  b = Relu(a)
    c = Conv <pads=[1,1,1,1]> (b, w1)  d = Relu(c)"""


def network(body: str, out: str = "float[A,B,C,D] y") -> onnx.ModelProto:
    return parse(
        f"g (float[N,4,10,10] x) => ({out}) {{ {body} }}",
        {name: array for name, array in W.items() if name in body},
    )


def layers_of(model: onnx.ModelProto, scratch: Path) -> list[Layer]:
    found = collect(copy_of(model), batches(X, 6), scratch, StatisticsCache(str(model)))
    return [layer for layer in found if is_convolution(layer.node)]


def probes_of(model: onnx.ModelProto, scratch: Path) -> dict[str, Probe]:
    made = {layer.node.name or "": probe(layer) for layer in layers_of(model, scratch)}
    return {name: each for name, each in made.items() if each is not None}


def weights_of(model: onnx.ModelProto, scratch: Path) -> dict[str, float]:
    return measure(copy_of(model), probes_of(model, scratch), batches(X, 6), scratch)


def felt(weight: float) -> float:
    """A weight before it was pulled towards the mean."""
    return (weight - SMOOTHING) / (1 - SMOOTHING)


def changed(model: onnx.ModelProto, name: str, probe: Probe) -> ir.Model:
    """The network with a probe's numbers in place of a layer's own."""
    copy = copy_of(model)
    (node,) = (node for node in copy.graph if node.name == name)
    for index, array in ((1, probe.weight), (2, probe.bias)):
        value = ir.Value(name=f"probed{index}", const_value=ir.tensor(array))
        value.const_value.name = value.name
        copy.graph.register_initializer(value)
        node.resize_inputs(3)
        node.replace_input_with(index, value)
    return copy


@pytest.mark.parametrize(
    "body", [PLAIN + "y = Conv(d, w2)", "y = Conv <group=2> (x, wg)", "y = Conv(x, w0, b0)"]
)
def test_a_probe_loses_what_it_says_and_keeps_the_mean(body: str, tmp_path: Path) -> None:
    for layer in layers_of(network(body), tmp_path):
        conv, found = layer.conv, probe(layer)
        assert found is not None
        assert found.weight.dtype == conv.weight.dtype
        matrix = found.weight.astype(np.float64).reshape(conv.matrix().shape)
        assert found.lost == pytest.approx(lost(conv, layer.statistics, matrix), rel=1e-3)
        assert found.lost > 0
        width = conv.matrix().shape[1]
        ranks = [np.linalg.matrix_rank(group, tol=1e-4) for group in matrix]
        assert max(ranks) < width
        assert found.lost <= LOST or max(ranks) == width - 1
        own = 0 if conv.bias is None else conv.bias
        mean = np.einsum("gnd,gd->gn", conv.matrix(), layer.statistics.mean).ravel() + own
        after = np.einsum("gnd,gd->gn", matrix, layer.statistics.mean).ravel() + found.bias
        assert np.abs(mean - after).max() < 1e-5


def test_a_single_filter_shrinks(tmp_path: Path) -> None:
    for layer in layers_of(network("a = Conv(x, w0)  y = Conv(a, ws)"), tmp_path)[1:]:
        conv, found = layer.conv, probe(layer)
        assert found is not None
        ratio = found.weight / conv.weight
        assert np.abs(ratio - (1 - LOST**0.5)).max() < 1e-5
        matrix = found.weight.astype(np.float64).reshape(conv.matrix().shape)
        assert found.lost == pytest.approx(LOST, rel=1e-6)
        assert lost(conv, layer.statistics, matrix) == pytest.approx(LOST, rel=1e-3)
    (grouped,) = probes_of(network("y = Conv <group=2> (x, wp)"), tmp_path).values()
    assert grouped.lost == pytest.approx(LOST, rel=1e-6)


def test_a_single_filter_is_weighed(tmp_path: Path) -> None:
    """An output of one channel moves by what it loses; multiplied by nothing, it weighs least."""
    found = weights_of(network(PLAIN + "y = Conv(d, ws)"), tmp_path)
    assert list(found) == ["Conv_a", "Conv_c", "Conv_y"]
    model = network(PLAIN + "s = Conv(d, ws)  n = Mul(s, zero)  e = Conv <pads=[1,1,1,1]> (d, w1)"
                    "  h = Conv(e, w1)  y = Add(h, n)")  # fmt: skip
    silent = weights_of(model, tmp_path)
    assert silent["Conv_s"] == pytest.approx(SMOOTHING)
    assert felt(found["Conv_y"]) > 0.5


def test_nothing_to_lose_is_no_probe(tmp_path: Path) -> None:
    body = "e = Conv <group=4> (x, wd)  c = Conv(e, w0)  y = Conv(c, w2)"
    assert list(probes_of(network(body), tmp_path)) == ["Conv_c", "Conv_y"]
    model = network("c = Conv(x, w0)  y = Conv(c, w2)")
    model.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.zeros((12, 4, 3, 3), np.float32), "w0")
    )
    assert "Conv_c" not in probes_of(model, tmp_path)


def test_weights_are_how_far_the_output_moves_for_what_is_lost(tmp_path: Path) -> None:
    model = network(PLAIN + "e = Add(d, b)  y = Conv(e, w2)")
    found = weights_of(model, tmp_path)
    reference = outputs(model, x=X)["y"].astype(np.float64)
    energy = np.sum((reference - reference.mean()) ** 2)
    moved = {}
    for name, each in probes_of(model, tmp_path).items():
        gap = outputs(changed(model, name, each), x=X)["y"] - reference
        moved[name] = np.sum(gap**2) / energy / each.lost
    mean = np.mean(list(moved.values()))
    assert list(found) == ["Conv_a", "Conv_c", "Conv_y"]
    for name, weight in found.items():
        assert weight == pytest.approx(SMOOTHING + (1 - SMOOTHING) * moved[name] / mean, rel=0.02)
    assert np.mean(list(found.values())) == pytest.approx(1)


def test_a_layer_that_is_multiplied_by_nothing_weighs_least(tmp_path: Path) -> None:
    found = weights_of(
        network(PLAIN + "e = Conv(d, w2)  f = Mul(e, zero)  h = Conv(d, w2)  y = Add(f, h)"),
        tmp_path,
    )
    assert found["Conv_e"] == pytest.approx(SMOOTHING)
    assert min(found, key=lambda name: found[name]) == "Conv_e"


def test_twice_the_output_is_felt_four_times(tmp_path: Path) -> None:
    found = weights_of(
        network("a = Conv(x, w0)  b = Conv(x, w0)  c = Mul(b, two)  y = Concat <axis=1> (a, c)"),
        tmp_path,
    )
    assert felt(found["Conv_b"]) == pytest.approx(4 * felt(found["Conv_a"]), rel=1e-3)


def test_the_scale_of_the_output_does_not_matter(tmp_path: Path) -> None:
    plain = weights_of(network(PLAIN + "y = Conv(d, w2)"), tmp_path)
    scaled = weights_of(network(PLAIN + "e = Conv(d, w2)  y = Mul(e, many)"), tmp_path)
    assert list(plain.values()) == pytest.approx(list(scaled.values()), rel=1e-3)


CLASSES = PLAIN + "e = Conv(d, w2)  p = GlobalAveragePool(e)  f = Flatten(p)  z = Mul(f, many)"


def test_a_softmax_at_the_end_is_left_out(tmp_path: Path) -> None:
    logits = weights_of(network(CLASSES + "y = Identity(z)", "float[A,B] y"), tmp_path)
    classes = weights_of(network(CLASSES + "y = Softmax(z)", "float[A,B] y"), tmp_path)
    both = weights_of(network(CLASSES + "y = Softmax(z)", "float[A,B] y, float[C,D] z"), tmp_path)
    assert classes == pytest.approx(logits, rel=1e-5)
    assert both == pytest.approx(logits, rel=1e-5)
    inner = network(CLASSES + "s = Softmax(z)  y = Mul(s, s)", "float[A,B] y")
    assert weights_of(inner, tmp_path) != pytest.approx(logits, rel=1e-2)


def test_several_outputs_count_alike_whatever_their_size(tmp_path: Path) -> None:
    body = PLAIN + "e = Conv(d, w2)  f = Mul(b, many)"
    both = weights_of(network(body, "float[A,B,C,D] e, float[E,F,G,H] f"), tmp_path)
    assert felt(both["Conv_a"]) > 0
    alone = weights_of(network(PLAIN + "e = Conv(d, w2)", "float[A,B,C,D] e"), tmp_path)
    ratio = felt(both["Conv_c"]) / felt(both["Conv_e"])
    assert ratio == pytest.approx(felt(alone["Conv_c"]) / felt(alone["Conv_e"]), rel=1e-3)


@pytest.mark.parametrize(
    "end", ["y = Mul(e, zero)", "i = ArgMax <axis=1> (e)  y = Cast <to=1> (i)", "y = Sign(e)"]
)
def test_outputs_that_hardly_move(end: str, tmp_path: Path) -> None:
    found = weights_of(network(PLAIN + "e = Conv(d, w2)  " + end), tmp_path)
    assert all(np.isfinite(weight) and weight >= SMOOTHING for weight in found.values())
    if "zero" in end:
        assert set(found.values()) == {1.0}


def test_classes_are_outputs_too(tmp_path: Path) -> None:
    model = network(PLAIN + "e = Conv(d, w2)  y = ArgMax <axis=1> (e)", "int64[A,B,C,D] y")
    assert len(weights_of(model, tmp_path)) == 3


def test_without_probes_there_are_no_weights(tmp_path: Path) -> None:
    assert measure(copy_of(network(PLAIN + "y = Conv(d, w2)")), {}, batches(X, 6), tmp_path) == {}


def test_the_network_itself_is_left_alone(tmp_path: Path) -> None:
    model = network(PLAIN + "y = Conv(d, w2)")
    probes, copy = probes_of(model, tmp_path), copy_of(model)
    before = ir.to_proto(copy).SerializeToString()
    measure(copy, probes, batches(X, 6), tmp_path)
    assert ir.to_proto(copy).SerializeToString() == before


def surveyed(model: onnx.ModelProto, feeds: Sequence[Any], scratch: Path, **more: Any) -> Any:
    sizes = {"Conv_a": (10, 10), "Conv_c": (10, 10), "Conv_y": (10, 10)}
    return survey(
        copy_of(model),
        feeds,
        catalog.families("basis"),
        sizes,
        2,
        scratch,
        StatisticsCache(str(model)),
        **more,
    )


def test_a_survey_has_rows_and_weights(tmp_path: Path) -> None:
    model = network(PLAIN + "y = Conv(d, w2)")
    found = surveyed(model, batches(X, 6), tmp_path)
    assert [row.name for row in found.rows] == list(found.weights) == ["Conv_a", "Conv_c", "Conv_y"]
    assert found.weights == weights_of(model, tmp_path)


def test_a_large_network_is_watched_on_fewer_samples(tmp_path: Path) -> None:
    """The last batch is cut, where the network takes any."""
    model = network(PLAIN + "y = Conv(d, w2)")
    found = surveyed(model, batches(X, 3), tmp_path, macs=10**15)
    probes = probes_of(model, tmp_path)
    assert found.weights == measure(copy_of(model), probes, [{"x": X[:2]}], tmp_path)
    whole = surveyed(model, [{"x": X}], tmp_path, macs=10**15)
    assert whole.weights == measure(copy_of(model), probes, [{"x": X[:2]}], tmp_path)


def test_a_batch_of_a_fixed_size_is_not_cut(tmp_path: Path) -> None:
    model = network(PLAIN + "y = Conv(d, w2)")
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    dim.Clear()
    dim.dim_value = 6
    found = surveyed(model, batches(X, 6), tmp_path, macs=10**15)
    assert set(found.weights) == {"Conv_a", "Conv_c", "Conv_y"}
