from __future__ import annotations

import numpy as np
import pytest
from helpers import largest_gap, normal, operators, parse, run_passes

FOLD = "name_everything, lift_constants, infer_shapes, fold_pad, remove_unused"


def test_pads_add_up() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            p = Pad(x, pads)  y = Conv <pads=[1,0,0,2], strides=[2,2]> (p, w)
        }""",
        {"w": normal(6, 4, 3, 3), "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])},
    )
    folded, decisions = run_passes(model, FOLD)
    assert operators(folded) == ["Conv 6x4x3x3 s2 p2,2,3,2"]
    assert largest_gap(model, folded) < 1e-5
    assert any(d.note == "folded into Conv_y" for d in decisions)


def test_pads_as_an_attribute_of_opset_10() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            p = Pad <mode="constant", pads=[0,0,1,1,0,0,1,1]> (x)  y = Conv(p, w)
        }""",
        {"w": normal(6, 4, 3, 3)},
        opset=10,
    )
    folded, _ = run_passes(model, FOLD)
    assert operators(folded) == ["Conv 6x4x3x3 p1"]
    assert largest_gap(model, folded) < 1e-5


def test_pads_by_axes_of_opset_18() -> None:
    model = parse(
        """g (float[1,4,9,9] x) => (float[N,C,H,W] y) {
            p = Pad(x, pads, , axes)  y = Conv(p, w)
        }""",
        {"w": normal(6, 4, 3, 3), "pads": np.array([1, 2]), "axes": np.array([-1])},
        opset=18,
    )
    folded, _ = run_passes(model, FOLD)
    assert operators(folded) == ["Conv 6x4x3x3 p0,1,0,2"]
    assert largest_gap(model, folded) < 1e-5


@pytest.mark.parametrize(
    ("attributes", "pads", "value", "reason"),
    [
        ('<mode="reflect">', [0, 0, 1, 1, 0, 0, 1, 1], 0, "its mode is reflect"),
        ("", [0, 0, 1, 1, 0, 0, 1, 1], 1, "its value is not 0"),
        ("", [0, 1, 0, 0, 0, 0, 0, 0], 0, "it pads the batch or the channels"),
        ("", [0, 0, 1, -1, 0, 0, 1, 1], 0, "it crops"),
    ],
)
def test_other_pads_are_refused(attributes: str, pads: list[int], value: int, reason: str) -> None:
    channels = 4 + pads[1]
    model = parse(
        f"""g (float[1,4,9,9] x) => (float[N,C,H,W] y) {{
            p = Pad {attributes} (x, pads, value)  y = Conv(p, w)
        }}""",
        {
            "w": normal(6, channels, 3, 3),
            "pads": np.array(pads),
            "value": np.float32(value),
        },
    )
    folded, decisions = run_passes(model, FOLD)
    assert [d.refusal for d in decisions if d.by == "fold_pad"] == [reason]
    assert largest_gap(model, folded) == 0
