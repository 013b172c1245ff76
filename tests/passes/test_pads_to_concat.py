from __future__ import annotations

import numpy as np
import pytest
from helpers import largest_gap, operators, parse, run_passes

CONCAT = "name_everything, lift_constants, infer_shapes, pads_to_concat, remove_unused"


def padded(pads: list[int], mode: str = "constant", batch: str = "2"):  # type: ignore[no-untyped-def]
    text = f"""g (float[{batch},8,4,6] x) => (float[A,B,C,D] y) {{
        y = Pad <mode="{mode}"> (x, p)
    }}"""
    return parse(text, {"p": np.array(pads)})


@pytest.mark.parametrize(
    ("pads", "parts"), [([0, 3, 0, 0, 0, 1, 0, 0], 3), ([0, 3, 0, 0, 0, 0, 0, 0], 2)]
)
def test_channels_of_zeros_are_put_beside_the_others(pads: list[int], parts: int) -> None:
    model = padded(pads)
    rewritten, decisions = run_passes(model, CONCAT)
    assert [node.op_type for node in rewritten.graph] == ["Concat"]
    assert len(rewritten.graph[0].inputs) == parts
    assert decisions[-1].applied
    assert largest_gap(model, rewritten) == 0


@pytest.mark.parametrize(
    ("pads", "mode", "batch", "reason"),
    [
        ([0, 0, 1, 0, 0, 0, 1, 0], "constant", "2", "other dimensions than the channels"),
        ([0, 1, 1, 0, 0, 0, 0, 0], "constant", "2", "other dimensions than the channels"),
        ([0, -1, 0, 0, 0, 2, 0, 0], "constant", "2", "it crops"),
        ([0, 1, 0, 0, 0, 0, 0, 0], "edge", "2", "its mode is edge"),
        ([0, 1, 0, 0, 0, 0, 0, 0], "constant", "N", "not all known"),
    ],
)
def test_other_pads_are_refused(pads: list[int], mode: str, batch: str, reason: str) -> None:
    rewritten, decisions = run_passes(padded(pads, mode, batch), CONCAT)
    assert reason in (decisions[-1].refusal or "")
    assert operators(rewritten)[0].startswith("Pad")
