from __future__ import annotations

import numpy as np
import pytest
from helpers import largest_gap, normal, parse, run_passes

from edgecc.errors import BuildError

LOWER = "name_everything, infer_shapes, lower_opset(opset=17, reader=TensorRT 8.5)"


def test_operators_that_mean_the_same_keep_their_form() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            c = Conv(x, w)  r = Relu(c)  p = Pad(r, pads)  y = MaxPool <kernel_shape=[2,2]> (p)
        }""",
        {"w": normal(2, 4, 3, 3), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
        opset=21,
    )
    lowered, decisions = run_passes(model, LOWER)
    assert lowered.opset_imports[""] == 17
    assert decisions[-1].note == "opset 21 is now 17"
    assert largest_gap(model, lowered) == 0


@pytest.mark.parametrize(
    ("body", "opset", "reason"),
    [
        ("y = Gelu(x)", 20, "Gelu came with opset 20"),
        ("y = ReduceMean(x, axes)", 18, "ReduceMean takes 'axes' as an attribute there"),
        ("y = Split <num_outputs=1> (x)", 18, "Split has no attribute 'num_outputs' there"),
    ],
)
def test_what_does_not_exist_there_is_an_error_with_the_node(
    body: str, opset: int, reason: str
) -> None:
    text = f"g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{ {body} }}"
    model = parse(text, {"axes": np.array([1])}, opset=opset)
    with pytest.raises(BuildError, match=r"TensorRT 8\.5 reads opset 17 at most") as caught:
        run_passes(model, LOWER)
    assert reason in caught.value.message
    assert "_y'" in caught.value.message


@pytest.mark.parametrize(
    ("body", "opsets", "reason"),
    [
        ("y = Softmax(x)", (13, 12), "Softmax means something else there"),
        ('y = GridSample <mode="linear"> (x, grid)', (20, 17), "GridSample means something else"),
        ('y = Pad <mode="wrap"> (x, pads)', (19, 17), "Pad knows no mode=wrap there"),
        ("y = Cast <to=17> (x)", (19, 17), "Cast takes no tensor(float8e4m3fn) there"),
        ("y = Flatten <axis=-1> (x)", (13, 10), "Flatten takes no negative axis there"),
        ("y = Resize(x, , scales)", (19, 8), "Resize came with opset 10"),
    ],
)
def test_what_means_something_else_is_refused(
    body: str, opsets: tuple[int, int], reason: str
) -> None:
    weights = {
        "grid": normal(1, 9, 9, 2),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    kind = "float8e4m3fn" if "Cast" in body else "float"
    text = f"g (float[1,4,9,9] x) => ({kind}[A,B,C,D] y) {{ {body} }}"
    if "Flatten" in body:
        text = text.replace("[A,B,C,D]", "[A,B]")
    model = parse(text, weights, opset=opsets[0])
    with pytest.raises(BuildError) as caught:
        run_passes(model, f"name_everything, infer_shapes, lower_opset(opset={opsets[1]})")
    assert reason in caught.value.message


def test_an_older_model_is_left_alone() -> None:
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }", opset=13)
    lowered, decisions = run_passes(model, LOWER)
    assert lowered.opset_imports[""] == 13
    assert not [d for d in decisions if d.by == "lower_opset"]
