from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import largest_gap, normal, operators, parse, run_passes

CONVOLVE = (
    "name_everything, lift_constants, infer_shapes, fold_constants, infer_shapes, gemm_to_conv,"
    " remove_unused"
)
TIGHT = 1e-4  # sums of 48 to 300 normal numbers, in another order


def classifier(
    body: str, weights: dict[str, np.ndarray], sizes: str = "3,4,4", opset: int = 17
) -> onnx.ModelProto:
    text = f"g (float[2,{sizes}] x) => (float[N,O] y) {{ {body} }}"
    return parse(text, weights, opset=opset)


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ("f = Flatten(x) y = Gemm <transB=1> (f, w, b)", ["Conv 5x3x4x4 bias", "Flatten"]),
        ("f = Flatten <axis=-3> (x) y = Gemm(f, t)", ["Conv 5x3x4x4", "Flatten"]),
        ("f = Reshape(x, s) y = Gemm <transB=1> (f, w, one)", ["Conv 5x3x4x4 bias", "Flatten"]),
        ("f = Flatten(x) y = MatMul(f, t)", ["Conv 5x3x4x4", "Flatten"]),
        ("f = Flatten(x) m = MatMul(f, t) y = Add(b, m)", ["Conv 5x3x4x4 bias", "Flatten"]),
        ("f = Flatten(x) m = MatMul(f, t) y = Relu(m)", ["Conv 5x3x4x4", "Relu", "Flatten"]),
        (
            "f = Flatten(x) m = Gemm <transB=1> (f, w, b) r = Relu(m) h = Gemm(r, v)"
            " y = Softmax <axis=-1> (h)",
            ["Conv 5x3x4x4 bias", "Relu", "Conv 6x5x1x1", "Softmax", "Flatten"],
        ),
    ],
)
def test_a_layer_behind_a_flatten_becomes_a_convolution(body: str, made: list[str]) -> None:
    w = normal(5, 48)
    weights = {
        "w": w,
        "t": np.ascontiguousarray(w.T),
        "b": normal(5),
        "one": normal(1),
        "v": normal(5, 6),
        "s": np.array([0, -1]),
    }
    used = {name: a for name, a in weights.items() if f" {name}" in body or f"({name}" in body}
    model = classifier(body, used)
    rewritten, decisions = run_passes(model, CONVOLVE)
    assert operators(rewritten) == made
    assert [d.made for d in decisions if d.by == "gemm_to_conv" and d.applied]
    assert largest_gap(model, rewritten) < TIGHT
    assert [v.name for v in rewritten.graph.outputs] == ["y"]
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(proto(rewritten), strict_mode=True))


def proto(model) -> onnx.ModelProto:  # type: ignore[no-untyped-def]
    import onnx_ir as ir

    return ir.to_proto(model)


def test_behind_a_global_pool_and_a_squeeze() -> None:
    body = "p = GlobalAveragePool(x) f = Squeeze(p, a) y = Gemm(f, t)"
    model = classifier(body, {"t": normal(3, 5), "a": np.array([2, 3])})
    rewritten, _ = run_passes(model, CONVOLVE)
    assert operators(rewritten) == ["GlobalAveragePool", "Conv 5x3x1x1", "Flatten"]
    assert largest_gap(model, rewritten) < TIGHT


def test_a_flatten_with_other_readers_stays() -> None:
    text = """g (float[2,3,4,4] x) => (float[N,O] y, float[M,K] z) {
        f = Flatten(x)  y = Gemm(f, t)  z = Relu(f)
    }"""
    model = parse(text, {"t": normal(48, 5)})
    rewritten, _ = run_passes(model, CONVOLVE)
    assert sorted(operators(rewritten)) == ["Conv 5x3x4x4", "Flatten", "Flatten", "Relu"]
    assert largest_gap(model, rewritten) < TIGHT


def test_an_open_batch_stays_open() -> None:
    text = "g (float[N,3,4,4] x) => (float[N,O] y) { f = Flatten(x)  y = Gemm(f, t) }"
    rewritten, _ = run_passes(parse(text, {"t": normal(48, 5)}), CONVOLVE)
    assert operators(rewritten) == ["Conv 5x3x4x4", "Flatten"]


@pytest.mark.parametrize(
    ("body", "sizes", "reason"),
    [
        ("y = Gemm <transA=1> (f, t)", "3,4,4", "it scales or transposes"),
        ("s = Add(t, t) n = Relu(s) q = Mul(n, k) y = Gemm(f, q)", "3,4,4", "computed at run time"),
        ("y = Gemm(f, t)", "3,4,40", "its map is larger than a kernel of 32"),
    ],
)
def test_other_layers_are_refused(body: str, sizes: str, reason: str) -> None:
    count = 3 * 4 * int(sizes.rpartition(",")[2])
    rows = 2 if "transA" in body else count
    text = f"g (float[2,{sizes}] x, float[1] k) => (float[A,B] y) {{ f = Flatten(x) {body} }}"
    rewritten, decisions = run_passes(parse(text, {"t": normal(rows, 5)}), CONVOLVE)
    refusals = [d.refusal or "" for d in decisions if d.by == "gemm_to_conv"]
    assert any(reason in refusal for refusal in refusals)
    assert not [line for line in operators(rewritten) if line.startswith("Conv")]


def test_a_layer_on_rows_is_refused() -> None:
    model = parse("g (float[2,8] x) => (float[A,B] y) { y = Gemm(x, t) }", {"t": normal(8, 5)})
    _, decisions = run_passes(model, CONVOLVE)
    assert "its input is no flattened map" in str([d.refusal for d in decisions])
