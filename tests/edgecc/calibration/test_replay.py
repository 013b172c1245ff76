"""What is replayed piece by piece is what onnxruntime computes in one go."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import normal, outputs, parse

from edgecc.calibration.replay import Replay
from edgecc.calibration.store import Store
from edgecc.errors import ModelError
from passes.decompose.basis import Basis

W = {
    "w0": normal(8, 4, 3, 3) / 6,
    "w1": normal(8, 8, 3, 3, seed=4) / 9,
    "w2": normal(8, 8, 1, 1, seed=5) / 3,
    "w3": normal(4, 16, 3, 3, seed=6) / 12,
}
RESIDUAL = """g (float[N,4,8,8] x) => (float[A,B,C,D] y) {
    a = Conv <pads=[1,1,1,1]> (x, w0)  b = Relu(a)
    c = Conv <pads=[1,1,1,1]> (b, w1)  d = Relu(c)  e = Conv(d, w2)  f = Add(e, b)  h = Relu(f)
    i = Concat <axis=1> (h, d)  y = Conv <strides=[2,2]> (i, w3)
}"""
BRANCHES = """g (float[N,4,8,8] x) => (float[A,B,C,D] y) {
    a = Conv <pads=[1,1,1,1]> (x, w0)
    b = Sigmoid(a)  c = MaxPool <kernel_shape=[3,3], pads=[1,1,1,1]> (a)  d, e = Split <axis=1> (a)
    f = Conv <pads=[1,1,1,1]> (b, w1)  g = Conv(c, w2)  h = Concat <axis=1> (e, d)
    i = Mul(f, g)  j = Sub(i, h)  k = Concat <axis=1> (j, a)  y = Conv(k, w3)
}"""
MIDDLE = """g (float[N,4,8,8] x) => (float[A,B,C,D] b, float[E,F,G,H] y, float[I,J,K,L] x2) {
    x2 = Relu(x)  a = Conv <pads=[1,1,1,1]> (x2, w0)  b = Relu(a)
    c = Conv <pads=[1,1,1,1]> (b, w1)  y = Conv(c, w2)
}"""
CONSTANT = """g (float[N,4,8,8] x) => (float[A,B,C,D] y) {
    k = Relu(s)  a = Conv <pads=[1,1,1,1]> (x, w0)  l = Exp(k)  b = Mul(a, k)
    c = Conv <pads=[1,1,1,1]> (b, w1)  d = Add(c, l)  y = Conv(d, w2)
}"""
TURNED = """g (float[N,4,8,8] x) => (float[A,B,C,D] y) {
    a = Conv <pads=[1,1,1,1]> (x, w0)  t = Transpose <perm=[1,2,3,0]> (a)
    c = Conv <pads=[1,1,1,1]> (a, w1)  m = Mul(t, s)  u = Transpose <perm=[3,0,1,2]> (m)
    d = Add(c, u)  y = Conv(d, w2)
}"""
OUTSIDE = """g (float[N,4,8,8] x) => (float[A,B,C,D] y) {
    a = Conv <pads=[1,1,1,1]> (x, w0)  b = Relu(a)  c = Conv <pads=[1,1,1,1]> (b, w1)
    m = ReduceMean <keepdims=0> (x)  up = Less(zero, m)
    f = If (up) <
        then_branch = one () => (float[N,8,8,8] p) { q = Add(b, s)  p = Add(q, c) },
        else_branch = two () => (float[N,8,8,8] r) { r = Sub(c, s) }
    >
    y = Conv(f, w2)
}"""
NETWORKS = {
    "residual": RESIDUAL,
    "branches": BRANCHES,
    "output in the middle": MIDDLE,
    "constants alone": CONSTANT,
    "batch not first": TURNED,
}
BATCH_AXIS = {"batch not first": {"t": 3, "m": 3}, "constants alone": {"k": None, "l": None}}
"""By network and value, where the batch is not the first axis."""


def network(text: str) -> onnx.ModelProto:
    turned = normal(8, 1, 1, *([1] if text is TURNED else []), seed=7)
    weights = {**W, "s": turned, "zero": np.zeros((), np.float32)}
    return typed(parse(text, {name: array for name, array in weights.items() if name in text}))


def typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with names for its nodes and types for its values, as preparation leaves it."""
    for node in model.graph.node:
        node.name = f"{node.op_type}_{node.output[0]}"
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def every_value(model: onnx.ModelProto | ir.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """All values of a network, from one run of onnxruntime."""
    proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model)
    whole = onnx.shape_inference.infer_shapes(
        onnx.ModelProto.FromString(proto.SerializeToString()), strict_mode=True
    )
    known = {value.name: value for value in whole.graph.value_info}
    there = {value.name for value in whole.graph.output}
    names = [name for node in whole.graph.node for name in node.output if name not in there]
    whole.graph.output.extend(known[name] for name in names)
    for value in whole.graph.output:
        value.type.tensor_type.ClearField("shape")
    return {"x": x, **outputs(whole, x=x)}


def is_conv(node: ir.Node) -> bool:
    return node.op_type == "Conv"


def replay_of(model: onnx.ModelProto, x: np.ndarray, size: int, scratch: Path) -> Any:
    feeds = [{"x": x[start : start + size]} for start in range(0, len(x), size)]
    graph = ir.from_proto(onnx.ModelProto.FromString(model.SerializeToString()))
    return graph, Replay(graph, feeds, scratch)


def joined(network: str, value: str, batches: list[np.ndarray]) -> np.ndarray:
    axis = BATCH_AXIS.get(network, {}).get(value, 0)
    if axis is None:
        assert all(np.array_equal(batch, batches[0]) for batch in batches)
        return batches[0]
    return np.concatenate(batches, axis=axis)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_value_is_that_of_a_whole_run(name: str, size: int, tmp_path: Path) -> None:
    model, x = network(NETWORKS[name]), normal(5, 4, 8, 8)
    expected = every_value(model, x)
    _, replay = replay_of(model, x, size, tmp_path)
    stops, seen = [], set()
    for node in replay.stops(is_conv):
        stops.append(node.name)
        assert replay.known(node.inputs[0].name)
        for value in filter(replay.known, expected):
            assert not replay.changed(value)
            close(joined(name, value, replay.before(value)), expected[value])
            seen.add(value)
    assert stops == [n.name for n in model.graph.node if n.op_type == "Conv"]
    assert {n.input[0] for n in model.graph.node if n.op_type == "Conv"} <= seen
    for output in model.graph.output:
        close(np.concatenate(replay.before(output.name)), expected[output.name])


def test_a_subgraph_looks_outside_and_goes_its_way_batch_by_batch(tmp_path: Path) -> None:
    model, x = network(OUTSIDE), normal(4, 4, 8, 8)
    x[:2] += 1
    x[2:] -= 1
    graph, replay = replay_of(model, x, 2, tmp_path)
    for number, node in enumerate(replay.stops(is_conv)):
        if number == 0:
            replay.follow(Basis(rank=2).apply(node)[1], ["a"])
        elif replay.changed(node.inputs[0].name):
            replay.follow([node], [node.outputs[0].name])
    for number in range(2):
        part = x[2 * number : 2 * number + 2]
        close(replay.before("y")[number], outputs(model, x=part)["y"])
        close(replay.now("y")[number], outputs(graph, x=part)["y"])
    assert replay.changed("y")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("replaced", [0, 1])
def test_both_sides_after_a_convolution_was_replaced(
    name: str, replaced: int, tmp_path: Path
) -> None:
    model, x = network(NETWORKS[name]), normal(5, 4, 8, 8)
    graph, replay = replay_of(model, x, 2, tmp_path)
    values = list(every_value(model, x))
    kept: dict[str, tuple[list[Any], list[Any], bool]] = {}

    def keep() -> None:
        for value in filter(replay.known, values):
            kept[value] = (replay.before(value), replay.now(value), replay.changed(value))

    for number, node in enumerate(replay.stops(is_conv)):
        y = node.outputs[0].name
        if number == replaced:
            _, made = Basis(rank=2).apply(node)
            assert [n.op_type for n in made] == ["Conv", "Conv"]
            replay.follow(made, [y])
        elif replay.changed(node.inputs[0].name):
            replay.follow([node], [y])
        keep()
    keep()
    was, now = every_value(model, x), every_value(graph, x)
    for value, (before, after, changed) in kept.items():
        close(joined(name, value, before), was[value])
        close(joined(name, value, after), now[value])
        assert changed == (np.abs(was[value] - now[value]).max() > 1e-5)
    assert kept["y"][2]
    assert not kept.get("x", ([], [], False))[2]


def test_nothing_is_kept_that_nothing_needs(tmp_path: Path) -> None:
    model, x = network(RESIDUAL), normal(4, 4, 8, 8)
    _, replay = replay_of(model, x, 2, tmp_path)
    there = {}
    for node in replay.stops(is_conv):
        there[node.outputs[0].name] = [v for v in "xabcdefhiy" if replay.known(v)]
    assert there == {"a": ["x", "a"], "c": ["b", "c"], "e": ["b", "d", "e"], "y": ["i", "y"]}
    assert [v for v in "xabcdefhiy" if replay.known(v)] == ["y"]


def test_outputs_stay_to_the_end(tmp_path: Path) -> None:
    model, x = network(MIDDLE), normal(4, 4, 8, 8)
    _, replay = replay_of(model, x, 4, tmp_path)
    for _ in replay.stops(is_conv):
        assert replay.known("x2")
    assert all(replay.known(value) for value in ("x2", "b", "y"))


def test_where_nothing_stops_it_runs_through(tmp_path: Path) -> None:
    model, x = network(RESIDUAL), normal(4, 4, 8, 8)
    _, replay = replay_of(model, x, 3, tmp_path)
    assert not list(replay.stops(lambda node: False))
    close(np.concatenate(replay.before("y")), outputs(model, x=x)["y"])


def test_a_loop_inside_an_if(tmp_path: Path) -> None:
    model, x = typed(looping()), normal(3, 4, 8, 8)
    _, replay = replay_of(model, x, 3, tmp_path)
    for _ in replay.stops(is_conv):
        pass
    close(replay.before("y")[0], outputs(model, x=x)["y"])


def looping() -> onnx.ModelProto:
    """A convolution, an If with a Loop in it that reads from outside, a convolution."""
    make, info = onnx.helper, onnx.helper.make_tensor_value_info
    real, sizes = onnx.TensorProto.FLOAT, ["N", 8, 8, 8]
    body = make.make_graph(
        [make.make_node("Identity", ["go"], ["on"]), make.make_node("Add", ["s", "k"], ["t"])],
        "body",
        [
            info("i", onnx.TensorProto.INT64, []),
            info("go", onnx.TensorProto.BOOL, []),
            info("s", real, sizes),
        ],
        [info("on", onnx.TensorProto.BOOL, []), info("t", real, sizes)],
    )
    then = make.make_graph(
        [make.make_node("Loop", ["times", "", "a"], ["p"], body=body)],
        "then",
        [],
        [info("p", real, sizes)],
    )
    other = make.make_graph(
        [make.make_node("Relu", ["a"], ["q"])], "other", [], [info("q", real, sizes)]
    )
    nodes = [
        make.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        make.make_node("If", ["yes"], ["f"], then_branch=then, else_branch=other),
        make.make_node("Conv", ["f", "w2"], ["y"]),
    ]
    weights = {"w0": W["w0"], "w2": W["w2"], "k": normal(1, 8, 1, 1), "times": np.array(3)}
    weights["yes"] = np.array(True)
    graph = make.make_graph(
        nodes,
        "g",
        [info("x", real, ["N", 4, 8, 8])],
        [info("y", real, sizes)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)


def test_a_piece_that_onnxruntime_does_not_take(tmp_path: Path) -> None:
    model = parse(
        """g (float[N,4,8,8] x) => (float[A,B,C,D] y) {
            a = Conv <pads=[1,1,1,1]> (x, w0)  b = Reshape(a, sizes)  y = Conv(b, w2)
        }""",
        {**{name: W[name] for name in ("w0", "w2")}, "sizes": np.array([1, 8, 8, 8])},
    )
    _, replay = replay_of(model, normal(4, 4, 8, 8), 2, tmp_path)
    with pytest.raises(ModelError, match="onnxruntime cannot run Reshape on its own") as caught:
        list(replay.stops(is_conv))
    assert "if it takes one alone, --shape x:1,4,8,8 fixes that" in str(caught.value.hint)


def test_a_fixed_batch_needs_no_hint_of_it(tmp_path: Path) -> None:
    model = parse(
        """g (float[2,4,8,8] x) => (float[A,B,C,D] y) {
            a = Conv <pads=[1,1,1,1]> (x, w0)  b = Reshape(a, sizes)  y = Conv(b, w2)
        }""",
        {**{name: W[name] for name in ("w0", "w2")}, "sizes": np.array([1, 8, 8, 8])},
    )
    _, replay = replay_of(model, normal(4, 4, 8, 8), 2, tmp_path)
    with pytest.raises(ModelError) as caught:
        list(replay.stops(is_conv))
    assert caught.value.hint is None


def test_beyond_the_limit_no_more_than_a_batch_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever onnxruntime puts out goes to its file before the next batch is run."""
    model, x, size = network(RESIDUAL), normal(60, 4, 8, 8), 2
    graph = ir.from_proto(onnx.ModelProto.FromString(model.SerializeToString()))
    feeds = [{"x": x[start : start + size]} for start in range(0, len(x), size)]
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    held, opened, put = [], [], Store.put

    def watched(store: Store, name: str, array: Any) -> None:
        if array.base is None:  # not a part of the samples
            alive[len(held)] = array
        put(store, name, array)
        held.append(sum(each.nbytes for each in alive.values()))
        opened.append(len(os.listdir("/proc/self/fd")))

    monkeypatch.setattr(Store, "put", watched)
    before = len(os.listdir("/proc/self/fd"))
    replay = Replay(graph, feeds, tmp_path, limit_bytes=0)
    for node in replay.stops(is_conv):
        if node.outputs[0].name == "a":
            replay.follow(Basis(rank=2).apply(node)[1], ["a"])
        elif replay.changed(node.inputs[0].name or ""):
            replay.follow([node], [node.outputs[0].name or ""])
    assert len(held) > 300
    assert max(held) <= 4 * size * 8 * 8 * 8 * 4  # two values of two batches, 4 KB each
    assert max(opened) <= before + 6  # what one run is fed
    close(np.concatenate(replay.before("y")), outputs(model, x=x)["y"])
    close(np.concatenate(replay.now("y")), outputs(graph, x=x)["y"])


SEQUENCES = {
    "split": "s = SplitToSequence <axis=1> (a, two)  e = SequenceAt(s, one)",
    "empty": """n = SequenceEmpty()  m = SequenceInsert(n, a)  o = SequenceInsert(m, a)
        s = SequenceErase(o)  p = SequenceConstruct(a, a)  q = SequenceErase(p)
        e = ConcatFromSequence <axis=1> (s)""",
}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_sequences_across_a_stop(kind: str, tmp_path: Path) -> None:
    body, element = SEQUENCES[kind].rsplit("e = ", 1)
    text = f"""g (float[N,4,8,8] x) => (float[A,B,C,D] y) {{
        a = Conv <pads=[1,1,1,1]> (x, w0)  {body}  c = Conv(a, w2)  e = {element}
        y = Concat <axis=1> (c, e)
    }}"""
    more = {"two": np.array(3), "one": np.array(1)}
    every = {**W, **more}
    model = typed(parse(text, {name: array for name, array in every.items() if name in text}))
    x = normal(5, 4, 8, 8)
    graph, replay = replay_of(model, x, 2, tmp_path)
    for number, node in enumerate(replay.stops(is_conv)):
        if number == 0:
            replay.follow(Basis(rank=2).apply(node)[1], ["a"])
        else:
            replay.follow([node], ["c"])
    close(np.concatenate(replay.before("y")), outputs(model, x=x)["y"])
    close(np.concatenate(replay.now("y")), outputs(graph, x=x)["y"])


def test_an_optional_across_a_stop_is_told(tmp_path: Path) -> None:
    text = """g (float[N,4,8,8] x) => (float[A,B,C,D] y) {
        a = Conv <pads=[1,1,1,1]> (x, w0)  s = Optional(a)  c = Conv(a, w2)
        e = OptionalGetElement(s)  y = Concat <axis=1> (c, e)
    }"""
    model = typed(parse(text, {name: W[name] for name in ("w0", "w2")}))
    _, replay = replay_of(model, normal(2, 4, 8, 8), 2, tmp_path)
    with pytest.raises(ModelError, match="cannot run OptionalGetElement_e"):
        list(replay.stops(is_conv))
