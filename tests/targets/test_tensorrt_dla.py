"""What would leave a DLA for the GPU, and the passes that keep it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import largest_gap, normal, parse, run_passes

from edgecc import catalog
from edgecc.errors import BuildError
from targets.tensorrt import parser
from targets.tensorrt.dla import KEEPS, dla_findings, partition

Save = Callable[..., Path]
MAP = "float[1,8,16,16] x"
PREPARED = (
    "name_everything, lift_constants, infer_shapes, fold_constants, infer_shapes,"
    " remove_identities, fold_pad, "
)


def kernel(*shape: int) -> dict[str, np.ndarray]:
    return {"w": normal(*shape)}


# the body, weights, what Xavier says, what Orin says; "" where it stays on the DLA
LAYERS = [
    ("y = Conv(x, w)", kernel(4, 8, 3, 3), "", ""),
    ("y = Conv <pads=[1,1,1,1], dilations=[2,2]> (x, w)", kernel(4, 8, 3, 3), "", ""),
    ("y = Conv <group=8> (x, w)", kernel(8, 1, 3, 3), "", ""),
    ("y = Conv <pads=[9,0,9,0]> (x, w)", kernel(4, 8, 33, 1), "takes kernels of 1 to 32", "same"),
    ("y = Conv <strides=[9,1]> (x, w)", kernel(4, 8, 3, 3), "takes strides of 1 to 8", "same"),
    (
        "y = Conv <pads=[3,3,3,3]> (x, w)",
        kernel(4, 8, 3, 3),
        "pads smaller than the kernel",
        "same",
    ),
    ("y = Conv(x, w)", kernel(8193, 8, 1, 1), "takes sizes up to 8192", "same"),
    ("y = ConvTranspose <strides=[2,2]> (x, w)", kernel(8, 4, 2, 2), "", ""),
    ("y = ConvTranspose <pads=[1,1,1,1]> (x, w)", kernel(8, 4, 3, 3), "without pads", "same"),
    ("y = ConvTranspose <group=2> (x, w)", kernel(8, 4, 2, 2), "without groups", "same"),
    ("y = ConvTranspose <dilations=[2,2]> (x, w)", kernel(8, 4, 2, 2), "without dilations", "same"),
    ("y = ConvTranspose(x, w)", kernel(8, 1, 1, 64), "", ""),
    ("y = ConvTranspose(x, w)", kernel(8, 1, 24, 24), "switched off", "same"),
    ("y = MaxPool <kernel_shape=[8,8], strides=[16,16]> (x)", {}, "", ""),
    ("y = MaxPool <kernel_shape=[9,8]> (x)", {}, "takes pooling windows of 1 to 8", "same"),
    ("y = AveragePool <kernel_shape=[2,2]> (x)", {}, "averages with the pads counted alone", ""),
    ("y = AveragePool <kernel_shape=[2,2], count_include_pad=1> (x)", {}, "", ""),
    ("y = GlobalAveragePool(x)", {}, "has no GlobalAveragePool", "same"),
    ("y = LeakyRelu(x)", {}, "", ""),
    ("y = Clip(x, a, b)", {"a": np.float32(0), "b": np.float32(6)}, "", ""),
    ("y = Clip(x, a, b)", {"a": np.float32(-1), "b": np.float32(1)}, "this is -1 to 1", "same"),
    ("y = Clip(x, a)", {"a": np.float32(0)}, "a fixed number alone", "same"),
    ("y = PRelu(x, s)", {"s": normal(1, 8, 1, 1)}, "", ""),
    ("y = PRelu(x, s)", {"s": normal(8, 1, 1)}, "a fixed slope of the rank", "same"),
    ("y = HardSwish(x)", {}, "has no HardSwish", "same"),
    ("y = Add(x, x)", {}, "", ""),
    ("y = Mul(x, s)", {"s": normal(1, 8, 1, 1)}, "", ""),
    ("p = MaxPool <kernel_shape=[16,16]> (x) y = Mul(x, p)", {}, "pooling windows", "same"),
    ("y = Add(x, z)", {}, "", ""),
    ("y = Add(x, v)", {}, "spreads (N, C, 1, 1)", "same"),
    ("y = Div(x, x)", {}, "has no Div", "same"),
    ("y = Concat <axis=1> (x, x)", {}, "", ""),
    ("y = Concat <axis=-1> (x, x)", {}, "concatenates channels alone", "same"),
    ("y = Resize(x, , s)", {"s": np.array([1, 1, 2, 2], np.float32)}, "", ""),
    ("y = Resize(x, , s)", {"s": np.array([1, 1, 1.5, 2], np.float32)}, "whole numbers", "same"),
    ('y = Resize <mode="linear"> (x, , s)', {"s": np.array([1, 1, 4, 4], np.float32)}, "", ""),
    ('y = Resize <mode="linear"> (x, , s)', {"s": np.array([1, 1, 8, 8], np.float32)}, "4", "same"),
    (
        'y = Resize <mode="linear", coordinate_transformation_mode="align_corners"> (x, , s)',
        {"s": np.array([1, 1, 2, 2], np.float32)},
        "half_pixel alone",
        "same",
    ),
    ("y = Resize(x, , , s)", {"s": np.array([1, 8, 32, 32])}, "four fixed scales", "same"),
    ("y = Softmax <axis=1> (x)", {}, "has no Softmax", ""),
    ("y = Softmax <axis=0> (x)", {}, "has no Softmax", "along the batch"),
    ("y = LRN <size=5> (x)", {}, "", ""),
    ("y = LRN <size=11> (x)", {}, "windows of 3, 5, 7 and 9", "same"),
    ("y, q = Split <axis=1> (x, s)", {"s": np.array([4, 4])}, "", ""),
    (
        "y = Slice(x, s, e, c)",
        {n: np.array([v]) for n, v in zip("sec", (0, 4, 1), strict=True)},
        "",
        "",
    ),
    ("y = Reshape(x, s)", {"s": np.array([1, 4, 32, 16])}, "", ""),
    ("y = Reshape(x, s)", {"s": np.array([1, -1])}, "from four dimensions to four", "same"),
    ("y = Transpose <perm=[0,2,3,1]> (x)", {}, "", ""),
    ("y = Transpose <perm=[1,0,2,3]> (x)", {}, "does not move the batch", "same"),
    ("y = Gemm(r, w)", kernel(6, 4), "", ""),
    ("y = Relu(r)", {}, "computes on four dimensions alone; this input has 2", "same"),
    ("y = Flatten(x)", {}, "has no Flatten", "same"),
    ("y = Gather(x, s)", {"s": np.array([0])}, "has no Gather", "same"),
    (
        "y = QuantizeLinear(x, s, z)",
        {"s": np.float32(1), "z": np.int8(0)},
        "INT8 comes from a calibration cache",
        "same",
    ),
]


@pytest.mark.parametrize(("body", "weights", "xavier", "orin"), LAYERS)
def test_layers(save: Save, body: str, weights: dict[str, Any], xavier: str, orin: str) -> None:
    inputs = f"{MAP}, float[1,8,1,1] z, float[1,1,1,16] v, float[1,6] r"
    path = save(parse(f"g ({inputs}) => (float[] y) {{ {body} }}", weights, opset=17))
    for generation, wanted in ((1, xavier), (2, xavier if orin == "same" else orin)):
        found = dla_findings(path, "fp16", generation, 1)
        assert len(found) == bool(wanted), (generation, found)
        assert all(wanted in f.reason and not f.fatal for f in found), (generation, found)


CHAIN = f"""g ({MAP}) => (float[A,B,C,D] y) {{
    a = Conv(x, w)  b = Relu(a)  c = Erf(b)  d = Relu(c)  e = Dropout(d)  f = Relu(e)  y = Erf(f)
}}"""


def test_pieces(save: Save) -> None:
    found = partition(save(parse(CHAIN, kernel(8, 8, 1, 1), opset=17)), "fp16", 1, 1)
    assert (found.on_dla, found.on_gpu, found.loadables, found.islands) == (4, 2, 2, 2)
    assert [f.operator for f in found.findings] == ["Erf", "Erf"]


def test_two_branches_that_meet_are_one_piece(save: Save) -> None:
    text = f"g ({MAP}) => (float[A,B,C,D] y) {{ a = Relu(x) b = Tanh(x) y = Add(a, b) }}"
    found = partition(save(parse(text)), "int8", 2, 1)
    assert (found.loadables, found.islands) == (1, 0)


def test_a_detour_over_the_gpu_cuts_in_two(save: Save) -> None:
    text = f"g ({MAP}) => (float[A,B,C,D] y) {{ a = Relu(x) b = Erf(a) y = Add(a, b) }}"
    found = partition(save(parse(text)), "fp16", 2, 1)
    assert (found.loadables, found.islands) == (2, 1)


@pytest.mark.parametrize(("generation", "told"), [(1, True), (2, False)])
def test_too_many_pieces_for_a_core(save: Save, generation: int, told: bool) -> None:
    links = "".join(f"r{i} = Relu(e{i}) e{i + 1} = Erf(r{i}) " for i in range(9))
    text = f"g (float[1,8,16,16] e0) => (float[A,B,C,D] y) {{ {links} y = Erf(e9) }}"
    found = partition(save(parse(text)), "fp16", generation, 1)
    assert found.loadables == 9
    assert any("cut into 9" in f.reason for f in found.findings) == told


def test_fp32_cannot_run_there(save: Save) -> None:
    found = dla_findings(save(parse(CHAIN, kernel(8, 8, 1, 1))), "fp32", 1, 1)
    assert [(f.operator, f.fatal) for f in found] == [("DLA", True)]
    assert found[0].hint == "build with --precision fp16"


def test_an_open_batch_is_settled_and_other_open_sizes_are_not(save: Save) -> None:
    text = "g (float[N,8,16,16] x) => (float[A,B,C,D] y) { y = Relu(x) }"
    assert dla_findings(save(parse(text)), "fp16", 1, 4) == []
    assert "batches up to 4096" in dla_findings(save(parse(text)), "fp16", 1, 5000)[0].reason
    text = text.replace("16,16", "H,W")
    found = partition(save(parse(text)), "fp16", 1, 1)
    assert "takes no open sizes" in found.findings[0].reason
    assert (found.on_dla, found.islands) == (0, 1)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(BuildError):
        dla_findings(path, "fp16", 1, 1)


ALL_ON_DLA = """g (float[1,3,32,32] x) => (float[N,O] y) {
    c = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w)  h = HardSwish(c)
    p = AveragePool <kernel_shape=[2,2], strides=[2,2]> (h)
    g = GlobalAveragePool(p)  f = Flatten(g)  m = Gemm <transB=1> (f, v, b)  y = Relu(m)
}"""


def test_passes_keep_a_classifier_on_xavier(save: Save) -> None:
    weights = {"w": normal(16, 3, 3, 3), "v": normal(10, 16), "b": normal(10)}
    model = parse(ALL_ON_DLA, weights)
    before = partition(save(model, "before.onnx"), "fp16", 1, 1)
    assert [f.operator for f in before.findings] == [
        "HardSwish", "AveragePool", "GlobalAveragePool", "Flatten", "Relu",
    ]  # fmt: skip
    kept, _ = run_passes(model, PREPARED + KEEPS)
    after = partition(save(ir.to_proto(kept), "after.onnx"), "fp16", 1, 1)
    assert [f.operator for f in after.findings] == ["Flatten"]  # the last node
    assert (before.loadables, after.loadables, after.islands) == (2, 1, 1)


REAL = {
    # pieces on the DLA and the GPU on Xavier, as they come and after the passes
    "cifar10/mlperf_resnet8_wide": ((2, 2), (1, 1)),
    "cifar10/resnet20": ((4, 3), (1, 1)),  # pads channels twice
    "misc/mlperf_vww96": ((2, 2), (1, 1)),
    "imagenet/squeezenet1.1_fp16": ((1, 1), (1, 1)),  # its Softmax stays, behind the last
}


@pytest.mark.parametrize("name", REAL)
def test_real_models(assets: Path, save: Save, name: str) -> None:
    original = onnx.load(assets / "models" / f"{name}.onnx")
    for value in original.graph.input:
        for size in value.type.tensor_type.shape.dim:
            size.dim_value = size.dim_value or 1  # an open batch
    model = ir.from_proto(onnx.ModelProto.FromString(original.SerializeToString()))
    before = partition(save(original), "fp16", 1, 1)
    catalog.pipeline(PREPARED + KEEPS).run(model)
    path = save(ir.to_proto(model))
    after = partition(path, "fp16", 1, 1)
    if parser.installed():
        assert parser.parse(path) == []
    assert ((before.loadables, before.islands), (after.loadables, after.islands)) == REAL[name]
    assert after.on_gpu < before.on_gpu
    assert largest_gap(original, model) < (1e-2 if "fp16" in name else 1e-4)
