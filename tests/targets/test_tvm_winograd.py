"""Winograd: that it computes convolutions, how exactly, and when it is taken."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from branches import LIMIT, check
from onnx.parser import parse_node
from tvm_networks import HOST, by_onnxruntime, error, given, network, normal, run_lowered

from edgecc.target import Core
from targets.tvm.compile import compiled
from targets.tvm.compute.window import Window
from targets.tvm.compute.winograd import Form
from targets.tvm.frontend import to_relax
from targets.tvm.layout import convolutions
from targets.tvm.options import Options
from targets.tvm.schedules.minimal import winograd_form
from targets.tvm.schedules.tile import register_tile

CORE = Core(
    lanes=8, registers=16, l1_kb=32, l2_kb=1024, fma_per_cycle=2, loads_per_cycle=2, fma_cycles=4
)
ERRORS = {
    None: 4.3e-7,  # the sum over the window
    (2, 2): 2.4e-7,
    (4, 4): 15.5e-7,
    (2, 1): 1.9e-7,
    (1, 2): 2.0e-7,
    (4, 1): 5.1e-7,
    (1, 4): 5.4e-7,
}
"""For each form, measured: the root of the mean square of its error over that of the outputs."""
SHAPES = {
    "odd sizes": "y = Conv <pads = [1, 1, 1, 1]> (h24, w20x24x3x3, b20)",
    "no pads": "y = Conv (h16, w24x16x3x3)",
    "uneven pads": "y = Conv <pads = [2, 0, 1, 1]> (h16, w16x16x3x3)",
    "of 5 channels": "y = Conv <pads = [1, 1, 1, 1]> (h5, w10x5x3x3)",
    "groups": "y = Conv <group = 2, pads = [1, 1, 1, 1]> (h32, w32x16x3x3, b32)",
    "3x1": "y = Conv <pads = [1, 0, 1, 0]> (h20, w24x20x3x1, b24)",
    "1x3": "y = Conv <pads = [0, 1, 0, 1]> (h20, w24x20x1x3)",
    "residual": "a = Conv <pads = [1, 1, 1, 1]> (h16, w16x16x3x3, b16); s = Add (a, h16);"
    "y = Relu (s)",
    "a multiplier's": "m = Conv <group = 8> (h8, w16x1x1x1);"
    "y = Conv <pads = [1, 1, 1, 1]> (m, w16x16x3x3)",
}


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[Form]:
    """Every convolution that can take Winograd's form takes it: m along each axis of 3 taps, so
    many rows of tiles at once (0: all). Returns the forms that were taken."""
    m, rows = request.param
    taken: list[Form] = []

    def chosen(
        core: Core, window: Window, groups: int, inputs: int, blocks: int,
        outputs: tuple[int, int], **_: object,
    ) -> Form | None:  # fmt: skip
        if window.strides != (1, 1) or window.taps not in ((3, 3), (3, 1), (1, 3)):
            return None
        sizes = (m if window.taps[0] == 3 else 1, m if window.taps[1] == 3 else 1)
        high, wide = (-(-outputs[axis] // sizes[axis]) for axis in (0, 1))
        chunk = rows or high
        taken.append(Form(sizes, chunk, register_tile(core, blocks, chunk, wide)))
        return taken[-1]

    monkeypatch.setattr(convolutions, "winograd_form", chosen)
    return taken


SLOW = pytest.mark.slow
FORMS = [(4, 1), *(pytest.param(form, marks=SLOW) for form in ((2, 0), (4, 0), (2, 2)))]


@pytest.mark.parametrize(("pixels", "batch"), [((13, 9), 1), pytest.param((7, 10), 2, marks=SLOW)])
@pytest.mark.parametrize("form", FORMS, indirect=True, ids=str)
def test_every_shape_equals_onnxruntime(
    form: list[Form], pixels: tuple[int, int], batch: int
) -> None:
    check(SHAPES, pixels, batch=batch)
    assert len(form) == len(SHAPES)


@pytest.mark.parametrize("outputs", ERRORS, ids=str)
def test_its_error(outputs: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a convolution of 64 channels, inputs and weights normal, against float64."""
    taken: list[Form] = []

    def chosen(core: Core, window: Window, *shape: object, **_: object) -> Form | None:
        if outputs is not None and window.taps != (1, 1):
            taken.append(Form(outputs, 1, register_tile(core, 1, 1, 16 // outputs[1])))
        return taken[-1] if taken else None

    monkeypatch.setattr(convolutions, "winograd_form", chosen)
    high, wide = (1 if m == 1 else 3 for m in outputs or (2, 2))
    eye = np.eye(64, dtype=np.float32)[:, :, None, None]
    random = np.random.default_rng(0)
    w = random.standard_normal((8, 64, high, wide), np.float32) / np.float32(8 * high * wide)
    nodes = [parse_node("h = Conv (x, eye)"), parse_node("y = Conv (h, w)")]
    shape = (1, 64, 15 + high, 15 + wide)
    model = network(17, nodes, {"eye": eye, "w": w}, shape)
    inputs = given(model)
    ((got,), _) = run_lowered(model, inputs, HOST)
    wanted = exact(inputs["x"], w)
    found = np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2))
    assert len(taken) == (outputs is not None)
    assert ERRORS[outputs] / 2 < found < ERRORS[outputs] * 2


def exact(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The convolution without pads in float64."""
    sums = [
        sum(
            scipy.signal.correlate2d(x[0, i].astype(np.float64), taps[i], mode="valid")
            for i in range(len(taps))
        )
        for taps in w.astype(np.float64)
    ]
    return np.stack(sums)[None]


def test_it_is_taken_where_the_model_says_so() -> None:
    dense, point = (
        Window((3, 3), (1, 1), (1, 1), (1,) * 4),
        Window((1, 1), (1, 1), (1, 1), (0,) * 4),
    )
    found = winograd_form(CORE, dense, 1, 64, 8, (56, 56))
    assert found is not None
    assert found.outputs in ((2, 2), (4, 4))
    assert -(-56 // found.outputs[0]) % found.chunk == 0
    assert found.tile.sums < CORE.registers
    assert winograd_form(CORE, point, 1, 64, 8, (56, 56)) is None
    for change in ({"strides": (2, 2)}, {"dilations": (2, 2)}, {"taps": (5, 5)}):
        window = Window(**{**vars(dense), **change})
        assert winograd_form(CORE, window, 1, 64, 8, (28, 28)) is None
    assert winograd_form(CORE, dense, 1, 1, 1, (56, 56)) is None  # transforms cost more


def test_it_can_be_switched_off() -> None:
    nodes = [parse_node("h = Conv (x, p)"), parse_node("y = Conv <pads = [1, 1, 1, 1]> (h, w)")]
    weights = {"p": normal(64, 8, 1, 1), "w": normal(64, 64, 3, 3) / np.float32(24)}
    model = network(17, nodes, weights, (1, 8, 28, 28))
    for winograd in (True, False):
        _, lowered = compiled(to_relax(model), HOST, Options(winograd=winograd))
        assert any("winograd" in name for name in lowered.scheduled) is winograd
    ((got,), _) = run_lowered(model, given(model), HOST)
    assert error(by_onnxruntime(model, given(model))[0], got) < LIMIT
