from __future__ import annotations

import onnx_ir as ir
import pytest
from helpers import normal, parse

from edgecc.errors import ModelError, UsageError
from edgecc.shapes import parse_shape, settle


def model(shape: str = "N,3,H,W") -> ir.Model:
    text = f"g (float[{shape}] x, float[N,2] z) => (float[A,B,C,D] y) {{ y = Conv(x, w) }}"
    return ir.from_proto(parse(text, {"w": normal(4, 3, 3, 3)}))


def test_shapes_are_read_with_and_without_a_name() -> None:
    assert parse_shape("x:1,3,8,8") == ("x", (1, 3, 8, 8))
    assert parse_shape("x:0:1x3x8x8") == ("x:0", (1, 3, 8, 8))
    assert parse_shape("1,3,8,8") == ("", (1, 3, 8, 8))


@pytest.mark.parametrize("text", ["x", "x:", "x:1,a", "x:1,0,3", "x:1,-3"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(UsageError):
        parse_shape(text)


def test_open_sizes_are_assumed_and_told() -> None:
    open_model = model()
    found = settle(open_model, {}, dynamic=True)
    assert found.inputs == {"x": (1, 3, 224, 224), "z": (1, 2)}
    assert found.assumed == {"x": "N is 1, H is 224, W is 224", "z": "N is 1"}
    assert not open_model.graph.inputs[0].shape.is_static()


def test_channels_are_what_the_convolution_wants() -> None:
    assert settle(model("N,C,8,8"), {}, dynamic=True).inputs["x"] == (1, 3, 8, 8)


def test_a_backend_of_fixed_sizes_takes_a_batch_of_one_and_asks_for_the_rest() -> None:
    fixed = model("N,3,8,8")
    settle(fixed, {}, dynamic=False)
    assert fixed.graph.inputs[0].shape == ir.Shape([1, 3, 8, 8])
    with pytest.raises(ModelError, match="has open sizes") as caught:
        settle(model(), {}, dynamic=False)
    assert caught.value.hint == "give them: --shape x:1,3,224,224"


def test_the_user_fixes_sizes() -> None:
    given = model()
    found = settle(given, {"x": (2, 3, 8, 9), "z": (2, 2)}, dynamic=False)
    assert found.assumed == {}
    assert given.graph.inputs[0].shape == ir.Shape([2, 3, 8, 9])


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8)])
def test_sizes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="does not fit the model, where it is N,3,H,W"):
        settle(model(), {"x": shape}, dynamic=True)


def test_unknown_and_missing_names() -> None:
    with pytest.raises(UsageError, match="no input 'q'"):
        settle(model(), {"q": (1,)}, dynamic=True)
    with pytest.raises(UsageError, match="needs the input's name"):
        settle(model(), {"": (1, 3, 8, 8)}, dynamic=True)


def test_a_backend_of_fixed_sizes_fixes_an_open_batch_and_says_so() -> None:
    fixed = model("N,3,8,8")
    found = settle(fixed, {}, dynamic=False)
    assert found.fixed
    assert found.assumed == {"x": "N is 1", "z": "N is 1"}
    assert not settle(model(), {}, dynamic=True).fixed
    assert not settle(model("1,3,8,8"), {"z": (1, 2)}, dynamic=False).fixed
