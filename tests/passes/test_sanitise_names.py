from __future__ import annotations

import re

import onnx
import onnx_ir as ir
import pytest
from helpers import largest_gap, normal, parse, run_passes
from older_operators import IMAGE

from edgecc.errors import BuildError

PLAIN = re.compile(r"[A-Za-z0-9_./-]{1,100}")


def chain(*names: tuple[str, str]) -> onnx.ModelProto:
    """Relu after Relu, with these names of node and output."""
    values = ["x", *(value for _, value in names)]
    body = " ".join(f"v{i} = Relu(v{i - 1})" for i in range(1, len(values)))
    model = parse(f"g (float[1,4] v0) => (float[1,4] v{len(names)}) {{ {body} }}")
    model.graph.input[0].name, model.graph.output[0].name = values[0], values[-1]
    for node, (name, value), before in zip(model.graph.node, names, values, strict=False):
        node.name, node.input[0], node.output[0] = name, before, value
    return model


def names(model: ir.Model) -> list[tuple[str | None, str | None]]:
    return [(node.name, node.outputs[0].name) for node in model.graph]


def test_foreign_characters_become_one_underscore() -> None:
    model = chain(('model/conv "1"', "a:0"), ("b\\\n + c", "Größe"), ("猫", "y:0"))
    model.graph.node[0].metadata_props.add(key="edgecc.origin", value='a "conv"')
    clean, decisions = run_passes(model, "sanitise_names")
    assert names(clean) == [("model/conv_1_", "a_0"), ("b_c", "Gr_e"), ("_", "y:0")]
    assert clean.graph[0].metadata_props["edgecc.origin"] == 'a "conv"'
    assert decisions[0].node == "model/conv_1_"
    assert decisions[0].note == "was called 'model/conv \"1\"'"
    assert largest_gap(model, clean) == 0


def test_plain_names_stay_and_others_make_way() -> None:
    model = chain(("a:b", "v:1"), ("a_b", "v_1"), ("a?b", "v?1"), ("a_b_2", "v"))
    clean, _ = run_passes(model, "sanitise_names")
    assert names(clean) == [("a_b_3", "v_1_2"), ("a_b", "v_1"), ("a_b_4", "v_1_3"), ("a_b_2", "v")]


def test_long_names_are_cut_and_stay_apart() -> None:
    long = "x" * 80 + "{}" + "y" * 80
    model = chain(
        (long.format("a"), long.format("a")), (long.format("b"), long.format("b")), ("c", "y")
    )
    clean, _ = run_passes(model, "sanitise_names")
    (first, _), (second, _), _ = names(clean)
    assert first != second
    assert len(first) == len(second) == 100
    assert first.startswith("x" * 45)
    assert first.endswith("y" * 45)


def test_the_same_model_gets_the_same_names() -> None:
    model = chain(("a b", "c d"), ("a+b", "c+d"), ("e", "y"))
    once, again = (run_passes(model, "sanitise_names")[0] for _ in range(2))
    assert names(once) == names(again)
    twice, decisions = run_passes(ir.to_proto(once), "sanitise_names")
    assert names(twice) == names(once)
    assert not decisions


def test_initialisers_and_subgraphs_are_named_once_in_the_whole_model() -> None:
    model = parse(
        f"""g ({IMAGE}, bool c) => (float[A,B,C,D] y) {{
            y = If (c) <
                then_branch = t () => (float[A,B,C,D] a) {{ r = Relu(x)  a = Conv(r, w) }},
                else_branch = e () => (float[A,B,C,D] b) {{ r = Neg(x)  b = Conv(r, w) }}>
        }}""",
        {"w": normal(2, 4, 3, 3)},
    )
    model.graph.initializer[0].name = 'w "of" both'
    for attribute in model.graph.node[0].attribute:
        attribute.g.node[1].input[1] = 'w "of" both'
        for number, node in enumerate(attribute.g.node):
            node.name = f"it's {number}"
    clean, _ = run_passes(model, "sanitise_names")
    nodes = [node.name or "" for node in clean.graph.all_nodes()]
    values = [v.name or "" for node in clean.graph.all_nodes() for v in node.outputs]
    values += list(clean.graph.initializers)
    for found in (nodes, values):
        assert len(set(found)) == len(found)
        assert all(PLAIN.fullmatch(name) for name in found)
    assert list(clean.graph.initializers) == ["w_of_both"]
    onnx.checker.check_model(ir.to_proto(clean), full_check=True)
    assert largest_gap(model, clean) == 0


@pytest.mark.parametrize("name", ['the "input"', "a\\b", "a\nb", "tab\t"])
def test_inputs_that_would_break_json_are_refused(name: str) -> None:
    model = chain(("a", "y"))
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    with pytest.raises(BuildError, match="an input or output named") as caught:
        run_passes(model, "sanitise_names")
    assert caught.value.hint == "rename it and export the model again"
