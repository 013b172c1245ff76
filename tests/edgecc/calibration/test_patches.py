"""Patches are what onnxruntime's Conv sees: multiplied by the filters they are its output."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers import conv_model, normal, outputs, parse

from edgecc.calibration import patches
from edgecc.calibration.patches import Sampler, wanted
from edgecc.conv import Conv, read

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "1x1": {"kernel": (1, 1)},
    "3x3": {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "3x3 no bias": {"kernel": (3, 3), "bias": False},
    "stride 2": {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)},
    "1x1 stride 2": {"kernel": (1, 1), "strides": (2, 2)},
    "strides by axis": {"kernel": (3, 2), "strides": (3, 1)},
    "uneven pads": {"kernel": (3, 3), "strides": (2, 1), "pads": (0, 1, 2, 0)},
    "pads wider than the kernel": {"kernel": (2, 2), "pads": (3, 0, 0, 3)},
    "dilated": {"kernel": (3, 3), "dilations": (2, 2), "pads": (2, 2, 2, 2)},
    "dilated by axis": {"kernel": (3, 3), "dilations": (1, 3), "strides": (1, 2)},
    "grouped": {"kernel": (3, 3), "groups": 2, "pads": (1, 1, 1, 1)},
    "grouped 1x1": {"kernel": (1, 1), "groups": 3},
    "depthwise": {"kernel": (3, 3), "groups": 6},
    "depthwise with multiplier": {"kernel": (3, 3), "groups": 6, "out_channels": 12},
    "kernel as large as the input": {"kernel": (9, 9)},
    "1-D": {"kernel": (5,), "pads": (2, 1), "strides": (2,)},
    "3-D": {"kernel": (3, 2, 1), "size": 5, "pads": (1, 0, 0, 1, 1, 0)},
}
Case = tuple[Conv, np.ndarray, np.ndarray]


def case(count: int = 3, **shape: Any) -> Case:
    """A convolution, a batch of its input and what onnxruntime makes of it."""
    shape = {"out_channels": 6, "in_channels": 6, "size": 9, **shape}
    model = conv_model(**shape)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    x = normal(count, 6, *[shape["size"]] * len(shape["kernel"]))
    return conv_of(model), x, outputs(model, x=x)["y"]


def conv_of(model: onnx.ModelProto) -> Conv:
    found = read(ir.from_proto(model).graph[0])
    assert isinstance(found, Conv)
    return found


def computed(conv: Conv, rows: np.ndarray) -> np.ndarray:
    """patches @ W.T + b: (N, O)."""
    y = np.einsum("Ngd,gnd->Ngn", rows.astype(np.float64), conv.matrix()).reshape(len(rows), -1)
    return y if conv.bias is None else y + conv.bias


def places(y: np.ndarray) -> np.ndarray:
    """In place of outputs (B, O, ...) the number of the position (B, 1, ...)."""
    sizes = y.shape[2:]
    here = np.arange(int(np.prod(sizes, dtype=int)), dtype=np.float32).reshape(sizes)
    return np.broadcast_to(here, (len(y), 1, *sizes))


@pytest.mark.parametrize("shape", CONVOLUTIONS)
@pytest.mark.parametrize("most", [None, 17])
def test_filters_times_patches_are_the_output(shape: str, most: int | None) -> None:
    conv, x, y = case(**CONVOLUTIONS[shape])
    found = list(Sampler(conv, most).over([x[:2], x[2:]], [y[:2], y[2:]]))
    for rows, at in found:
        assert rows.shape[1:] == (conv.groups, conv.patch_size)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(computed(conv, rows), at, rtol=0, atol=2e-5)
    if most is None:
        everything = y.reshape(*y.shape[:2], -1).transpose(0, 2, 1).reshape(-1, y.shape[1])
        assert np.array_equal(np.concatenate([at for _, at in found]), everything)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", ["", ", b"])
def test_a_gemm_sees_its_whole_input(transposed: int, bias: str) -> None:
    weight = normal(5, 7) if transposed else normal(7, 5)
    model = parse(
        f"g (float[N,7] x) => (float[N,5] y) {{ y = Gemm <transB={transposed}> (x, w{bias}) }}",
        {"w": weight, "b": normal(5)},
    )
    x = normal(4, 7)
    y = outputs(model, x=x)["y"]
    (found,) = Sampler(conv_of(model)).over([x], [y])
    assert np.array_equal(found[0], x[:, None])
    assert np.array_equal(found[1], y)
    np.testing.assert_allclose(computed(conv_of(model), found[0]), y, rtol=0, atol=1e-5)


def test_a_sample_is_bounded_even_and_scattered() -> None:
    conv, x, y = case(count=8, kernel=(3, 3), pads=(1, 1, 1, 1))
    at = places(y)
    batches = [slice(0, 5), slice(5, 8)]
    found = list(Sampler(conv, 50).over([x[b] for b in batches], [at[b] for b in batches]))
    counts = [len(rows) for rows, _ in found]
    assert counts == [5 * 7, 3 * 7]  # ceil(50 / 8) positions of each of 8 samples
    scattered = [where.reshape(size, 7) for (_, where), size in zip(found, (5, 3), strict=True)]
    for where in scattered:
        assert (where == where[0]).all()  # of one chunk, the same in each sample
        assert len(np.unique(where[0])) == 7
    assert not np.array_equal(scattered[0][0], scattered[1][0])


def test_a_sample_is_the_same_in_every_run() -> None:
    conv, x, _ = case(kernel=(3, 3))
    first, again = ([rows for (rows,) in Sampler(conv, 20).over([x, x])] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("most", [None, 30])
def test_chunks_are_of_bounded_size(most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x, y = case(count=6, kernel=(3, 3), groups=2)
    whole = list(Sampler(conv, most).over([x], [y]))
    sample_bytes = 4 * 6 * 9 * (49 if most is None else 5)
    for chunk, samples in ((3 * sample_bytes, 3), (sample_bytes // 2, 1)):
        monkeypatch.setattr(patches, "CHUNK_BYTES", chunk)
        parts = list(Sampler(conv, most).over([x], [y]))
        assert len(whole) == 1
        assert len(parts) == 6 // samples
        assert all(rows.nbytes == samples * sample_bytes for rows, _ in parts)
        for rows, at in parts:
            np.testing.assert_allclose(computed(conv, rows), at, rtol=0, atol=2e-5)
        if most is None:
            assert np.array_equal(np.concatenate([rows for rows, _ in parts]), whole[0][0])


def test_batches_on_disk_are_read_as_others(tmp_path: Any) -> None:
    conv, x, _ = case(kernel=(3, 3))
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    (ours,), (theirs,) = Sampler(conv).over([x]), Sampler(conv).over([mapped])
    assert np.array_equal(ours[0], theirs[0])


def test_enough_patches_for_a_covariance() -> None:
    assert wanted(9) == 100_000
    assert wanted(4608) == 10 * 4608
    sizes = [1, 27, 64, 576, 1152, 2304, 8192]
    assert all(wanted(size) >= 10 * size for size in sizes)
    assert all(wanted(size) * size**2 <= max(1e10, 10 * size**3) for size in sizes)
