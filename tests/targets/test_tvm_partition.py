"""Cutting a network into segments: which, how many, and what passes between them."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import ValueInfoProto

from edgecc import oracle
from targets.tvm.inference import types_of
from targets.tvm.partition import Network, Segment, partition

WEIGHT = "{" + ", ".join(f"0.{i}" for i in range(16)) + "}"
CHAIN = """g (float[1,4] x) => (float[1,4] y) <float[4,4] w = W> {
    [a] a = MatMul (x, w)  [b] b = Exp (a)  [c] y = MatMul (b, w) }"""


def cut(text: str, *elsewhere: str, blocked: tuple[str, ...] = ()) -> list[Segment]:
    """Cut a graph in ONNX's syntax, W a weight; what is `blocked` cannot pass to or from TVM."""
    text = text.replace("= W", f"= {WEIGHT}")
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')

    def passable(value: ValueInfoProto) -> bool:
        return value.name not in blocked

    found = partition(Network(model, types_of(model)), set(elsewhere), passable)
    check_same(model, found)
    return found


def check_same(model: onnx.ModelProto, segments: list[Segment]) -> None:
    """Run one segment behind the other and compare with the whole, all in onnxruntime."""
    values = {
        v.name: np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 4) for v in model.graph.input
    }
    wanted = run(model, values)
    for segment in segments:
        onnx.checker.check_model(segment.model)
        names = [value.name for value in segment.model.graph.input]
        values |= run(segment.model, {name: values[name] for name in names})
    for name, array in wanted.items():
        np.testing.assert_array_equal(values[name], array)


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def words(segments: list[Segment]) -> list[str]:
    """A line a segment: ["tvm: x -> a b -> a"], as runtime, inputs, nodes, outputs."""
    return [
        f"{s.runs_in}: {' '.join(v.name for v in s.model.graph.input)} -> "
        f"{' '.join(node.name for node in s.nodes)} -> "
        f"{' '.join(v.name for v in s.model.graph.output)}"
        for s in segments
    ]


def test_chain_and_a_constant_that_two_segments_share() -> None:
    segments = cut(CHAIN, "b")
    assert words(segments) == ["tvm: x -> a -> a", "onnxruntime: a -> b -> b", "tvm: b -> c -> y"]
    weights = [[w.name for w in segment.model.graph.initializer] for segment in segments]
    assert weights == [["w"], [], ["w"]]
    assert [v.type.tensor_type.shape.dim[1].dim_value for v in segments[1].model.graph.input] == [4]


def test_nothing_and_everything_elsewhere() -> None:
    assert words(cut(CHAIN)) == ["tvm: x -> a b c -> y"]
    assert words(cut(CHAIN, "a", "b", "c")) == ["onnxruntime: x -> a b c -> y"]


def test_branches_beside_it_do_not_cost_segments() -> None:
    text = """g (float[1,4] x) => (float[1,4] y, float[1,4] z) <float[4,4] w = W> {
        [a] a = MatMul (x, w)  [e] b = Exp (x)  [c] c = MatMul (a, w)  [d] z = MatMul (b, w)
        [f] y = Exp (c) }"""
    assert words(cut(text, "e", "f")) == [
        "tvm: x -> a c -> c",
        "onnxruntime: x c -> e f -> b y",
        "tvm: b -> d -> z",
    ]


def test_diamond_stays_without_a_cycle() -> None:
    """One side of the diamond leaves TVM: its ends cannot be one segment."""
    text = """g (float[1,4] x) => (float[1,4] y) <float[4,4] w = W> {
        [top] t = MatMul (x, w)  [left] l = MatMul (t, w)  [right] r = Exp (t)
        [join] j = Add (l, r)  [last] y = MatMul (j, w) }"""
    assert words(cut(text, "right")) == [
        "tvm: x -> top left -> t l",
        "onnxruntime: t -> right -> r",
        "tvm: l r -> join last -> y",
    ]


def test_several_outputs_one_of_them_inside_a_segment() -> None:
    text = """g (float[1,4] x) => (float[1,4] a, float[1,2] p, float[1,2] q, float[1,4] x,
        float[2] k) <float[4,4] w = W, float[2] k = {1, 2}> {
        [a] a = MatMul (x, w)  [b] b = Exp (a)  [s] p, q = Split <axis = 1> (b) }"""
    assert words(cut(text, "b", "s")) == [
        "tvm: x -> a -> a k",
        "onnxruntime: a -> b s -> p q",
    ]


def test_light_segments_are_not_worth_a_change_of_runtime() -> None:
    text = """g (float[1,4] x) => (float[1,4] y) <float[4,4] w = W> {
        [a] a = MatMul (x, w)  [b] b = Exp (a)  [relu] c = Relu (b)  [d] d = Exp (c)
        [end] y = Softmax (d) }"""
    assert words(cut(text, "b", "d")) == ["tvm: x -> a -> a", "onnxruntime: a -> b relu d end -> y"]


def test_what_cannot_pass_takes_its_nodes_along() -> None:
    text = """g (float[1,4] x) => (float[1,4] y) <float[4,4] w = W> {
        [a] a = MatMul (x, w)  [b] b = MatMul (a, w)  [e] c = Exp (b)  [d] d = MatMul (c, w)
        [f] y = MatMul (d, w) }"""
    assert words(cut(text, "e", blocked=("b", "c"))) == [
        "tvm: x -> a -> a",
        "onnxruntime: a -> b e d -> d",
        "tvm: d -> f -> y",
    ]


def test_subgraphs_read_what_lies_around_them() -> None:
    text = """g (float[1,4] x, float[1,4] u) => (float[1,4] y)
        <float[1] one = {1}, float[4,4] w = W> {
        [a] a = MatMul (x, w)  [c] c = MatMul (u, w)
        [k] k = Constant <value = bool {1}> ()
        [if] b = If (k) <then_branch = yes () => (float[1,4] t) { t = Add (a, one) },
                         else_branch = no () => (float[1,4] e) { e = Neg (c) }>
        [one] one2 = MatMul (b, w)  [y] y = Add (one2, one) }"""
    assert words(cut(text, "if")) == [
        "tvm: x u -> a c -> a c",
        "onnxruntime: a c -> if -> b",
        "tvm: b -> one y -> y",
    ]


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_keep_their_order_and_numbers(seed: int) -> None:
    random = np.random.default_rng([oracle.SEED, seed])
    elsewhere = [f"n{i}" for i in range(14) if random.random() < 0.4]
    nodes = []
    for i in range(14):
        left, right = random.choice(["x", *(f"t{k}" for k in range(i))][-5:], 2)
        call = f"MatMul ({left}, w)" if random.random() < 0.5 else f"Add ({left}, {right})"
        nodes.append(f"[n{i}] t{i} = {call}")
    outputs = "float[1,4] t13, float[1,4] t5"
    segments = cut(
        f"g (float[1,4] x) => ({outputs}) <float[4,4] w = W> {{ {' '.join(nodes)} }}", *elsewhere
    )
    runtimes = [segment.runs_in for segment in segments]
    assert all(a != b for a, b in itertools.pairwise(runtimes))
    named = [node.name for segment in segments for node in segment.nodes]
    assert len(named) == len(set(named)) <= 14  # what no output needs is left out
