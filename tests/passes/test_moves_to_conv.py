from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import largest_gap, operators, parse, run_passes

MOVE = "name_everything, lift_constants, infer_shapes, moves_to_conv, remove_unused"


def model_of(body: str, weights: dict[str, np.ndarray] | None = None, opset: int = 17):  # type: ignore[no-untyped-def]
    text = f"g (float[2,8,4,6] x) => (float[A,B,C,D] y) {{ y = {body} }}"
    return parse(text, weights, opset=opset)


@pytest.mark.parametrize(
    ("body", "weights", "made"),
    [
        ("DepthToSpace <blocksize=2> (x)", {}, "ConvTranspose 8x2x2x2 s2"),
        ('DepthToSpace <blocksize=2, mode="CRD"> (x)', {}, "ConvTranspose 8x2x2x2 s2"),
        ("SpaceToDepth <blocksize=2> (x)", {}, "Conv 32x8x2x2 s2"),
        ("Pad(x, p)", {"p": np.array([0, 3, 0, 0, 0, 1, 0, 0])}, "Conv 12x8x1x1"),
        ("Pad(x, p)", {"p": np.array([0, -3, 0, 0, 0, 1, 0, 0])}, "Conv 6x8x1x1"),
        ("Gather <axis=1> (x, i)", {"i": np.array([7, -1, 0, 0])}, "Conv 4x8x1x1"),
    ],
)
def test_a_move_becomes_ones_and_zeros(
    body: str, weights: dict[str, np.ndarray], made: str
) -> None:
    model = model_of(body, weights)
    rewritten, decisions = run_passes(model, MOVE)
    assert operators(rewritten) == [made]
    assert any(d.made for d in decisions if d.by == "moves_to_conv")
    assert largest_gap(model, rewritten) == 0


@pytest.mark.parametrize(
    ("body", "weights", "reason"),
    [
        ("Pad(x, p)", {"p": np.array([0, 1, 1, 0, 0, 0, 0, 0])}, "other dimensions"),
        ("Pad(x, p)", {"p": np.array([0, -8, 0, 0, 0, 0, 0, 0])}, "it leaves no channel"),
        ("Pad <mode='edge'> (x, p)", {"p": np.array([0, 1, 0, 0, 0, 0, 0, 0])}, "mode is edge"),
        ("Gather <axis=2> (x, i)", {"i": np.array([1])}, "along another dimension"),
        ("Gather <axis=1> (x, s)", {"i": np.array([1])}, "no fixed list"),
    ],
)
def test_other_moves_are_refused(body: str, weights: dict[str, np.ndarray], reason: str) -> None:
    model = model_of(body.replace("'", '"'), weights)
    if "s)" in body:
        model.graph.input.append(onnx.helper.make_tensor_value_info("s", 7, [4]))
    rewritten, decisions = run_passes(model, MOVE)
    assert reason in str([d.refusal for d in decisions if d.by == "moves_to_conv"])
    assert not [kind for kind in operators(rewritten) if kind.startswith("Conv")]


def test_too_many_channels_are_refused() -> None:
    model = model_of("SpaceToDepth <blocksize=2> (x)")
    _, decisions = run_passes(model, MOVE.replace("conv,", "conv(channels=31),"))
    assert "more than 31 channels" in str([d.refusal for d in decisions])


def test_integers_are_refused() -> None:
    text = "g (int64[2,8,4,6] x) => (int64[A,B,C,D] y) { y = Gather <axis=1> (x, i) }"
    rewritten, _ = run_passes(parse(text, {"i": np.array([1])}), MOVE)
    assert operators(rewritten) == ["Gather"]
