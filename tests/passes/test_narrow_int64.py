from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from helpers import largest_gap, normal, parse, run_passes
from older_operators import IMAGE, whole

NARROW = "name_everything, lift_constants, infer_shapes, narrow_int64"
INT32, INT64 = ir.DataType.INT32, ir.DataType.INT64
FAR = np.iinfo(np.int64).max


def constants(model: ir.Model) -> dict[str, str]:
    graphs = [model.graph, *model.graph.subgraphs()]
    found = [value for graph in graphs for value in graph.initializers.values()]
    return {v.name: v.dtype.name for v in found if v.dtype in (INT32, INT64)}


def said(decisions: list) -> list[tuple[str, str]]:
    return [(d.node, d.note or d.refusal) for d in decisions if d.by == "narrow_int64"]


def test_indices_are_narrowed_and_a_shape_is_not() -> None:
    model = parse(
        f"g ({IMAGE}) => (float[A,B] y) {{ a = Gather <axis=1> (x, i)  y = Reshape(a, s) }}",
        {"i": whole(2, -1, 0), "s": whole(3, -1)},
    )
    narrowed, decisions = run_passes(model, NARROW)
    assert constants(narrowed) == {"i": "INT32", "s": "INT64"}
    assert said(decisions) == [
        ("g", "1 constant INT32 now; 1 constant stays INT64 for Reshape, and would fit INT32")
    ]
    assert largest_gap(model, narrowed) == 0


def test_one_that_both_kinds_read_is_there_twice() -> None:
    model = parse(
        """g (float[1,4,1,1] x) => (float[A,B,C,D] y) {
            a = Gather <axis=1> (x, i)  y = Tile(a, i)
        }""",
        {"i": whole(1, 3, 1, 2)},
    )
    narrowed, _ = run_passes(model, NARROW)
    assert constants(narrowed) == {"i": "INT64", "i.int32": "INT32"}
    assert largest_gap(model, narrowed) == 0


def test_slices_to_the_end_are_clamped() -> None:
    model = parse(
        f"g ({IMAGE}) => (float[A,B,C,D] y) {{ y = Slice(x, start, end, axes, steps) }}",
        {
            "start": whole(1, FAR),
            "end": whole(FAR, -FAR),
            "axes": whole(1, -1),
            "steps": whole(2, -1),
        },
    )
    narrowed, decisions = run_passes(model, NARROW)
    assert set(constants(narrowed).values()) == {"INT64"}
    assert said(decisions) == [
        (
            "g",
            "2 limits of slices clamped to INT32; 4 constants stay INT64 for Slice, and would fit "
            "INT32",
        )
    ]
    limits = narrowed.graph[0].inputs[2]
    assert limits.const_value.numpy().tolist() == [2**31 - 1, -(2**31)]
    assert largest_gap(model, narrowed) == 0


def test_arithmetic_is_narrowed_as_a_whole() -> None:
    model = parse(
        f"""g ({IMAGE}) => (float[A,B,C,D] y) {{
            positive = Greater(x, zero)  n = Cast <to=7> (positive)
            twice = Mul(n, two)  moved = Add(twice, one)  odd = Mod(moved, three)
            both = Concat <axis=1> (odd, n)  w = Where(all, both, two)
            few = Equal(w, two)  f = Cast <to=1> (w)  g0 = Cast <to=1> (few)  y = Add(f, g0)
        }}""",
        {
            "zero": np.float32(0),
            "two": whole(2),
            "one": whole(1),
            "three": whole(3),
            "all": np.ones((1, 8, 6, 6), bool),
        },
    )
    narrowed, decisions = run_passes(model, NARROW)
    assert set(constants(narrowed).values()) == {"INT32"}
    assert said(decisions) == [("g", "3 constants and 1 Cast INT32 now")]
    assert not [v for n in narrowed.graph for v in n.outputs if v.dtype == INT64]
    run_passes(ir.to_proto(narrowed), "infer_shapes")  # the types agree
    assert largest_gap(model, narrowed) == 0


@pytest.mark.parametrize(
    ("body", "constant", "stays"),
    [
        ("s = Shape(x)  y = Add(s, c)", whole(1), "for Add"),  # a Shape is INT64
        ("r = Cast <to=7> (x)  y = Add(r, c)", whole(1), "for Add"),  # a float may be anything
        ("b = Cast <to=6> (x)  n = Cast <to=7> (b)  y = Mul(n, c)", whole(2), "for Mul"),
        ("b = Cast <to=9> (x)  n = Cast <to=7> (b)  y = Mul(n, c)", whole(2), "for Mul"),  # output
        ("b = Cast <to=9> (x)  y = Where(b, c, c)", whole(2), "for Where"),
    ],
)
def test_what_does_not_fit_or_is_an_output_stays(
    body: str, constant: np.ndarray, stays: str
) -> None:
    model = parse(f"g ({IMAGE}) => (int64 y) {{ {body} }}", {"c": constant})
    model.graph.output[0].type.tensor_type.ClearField("shape")
    narrowed, decisions = run_passes(model, NARROW)
    assert constants(narrowed) == {"c": "INT64"}
    assert said(decisions) == [("g", f"1 constant stays INT64 {stays}, and would fit INT32")]
    assert narrowed.graph.outputs[0].dtype == INT64


def test_numbers_beyond_are_told() -> None:
    model = parse(
        f"""g ({IMAGE}) => (float[A,B,C,D] y) {{
            b = Cast <to=9> (x)  n = Cast <to=7> (b)  m = Mul(n, large)  l = Less(m, less)
            i = Cast <to=7> (b)  j = Mul(i, half)  k = Mul(j, half)  o = Less(k, half)
            a = And(l, o)  y = Cast <to=1> (a)
        }}""",
        {"large": whole(5_000_000_000), "less": whole(-3_000_000_000), "half": whole(2**20)},
    )
    narrowed, decisions = run_passes(model, NARROW)
    assert said(decisions)[:2] == [
        ("large", "5000000000 does not fit INT32"),
        ("less", "-3000000000 does not fit INT32"),
    ]
    assert said(decisions)[2][1].startswith("1 constant stays INT64 for ")
    assert largest_gap(model, narrowed) == 0


def test_subgraphs_are_narrowed_too() -> None:
    model = parse(
        f"""g ({IMAGE}, bool c) => (float[A,B,C,D] y) {{
            y = If (c) <
                then_branch = t () => (float[A,B,C,D] a) {{ a = Gather <axis=1> (x, i) }},
                else_branch = e () => (float[A,B,C,D] b) {{
                    j = Constant <value = int64[1] {{2}}> ()  b = Gather <axis=1> (x, j)
                }}>
        }}""",
        {"i": whole(0)},
    )
    narrowed, decisions = run_passes(model, NARROW)
    assert constants(narrowed) == {"i": "INT32", "j": "INT32"}
    assert said(decisions) == [("g", "2 constants INT32 now")]
    assert largest_gap(model, narrowed) == 0


def test_a_model_without_int64_is_not_spoken_of() -> None:
    model = parse(
        f"g ({IMAGE}) => (float[A,B,C,D] y) {{ y = Conv(x, w) }}", {"w": normal(2, 4, 3, 3)}
    )
    assert said(run_passes(model, NARROW)[1]) == []
