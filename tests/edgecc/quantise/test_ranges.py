"""What activations hold, in any split of the samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import normal, parse
from residual import NETWORK, X
from sampled import batches, values

from edgecc.errors import ModelError
from edgecc.quantise import ranges as module
from edgecc.quantise.ranges import ranges, scan

Save = Callable[..., Path]


def test_channels_are_what_onnxruntime_computes(save: Save) -> None:
    found = scan(save(NETWORK), batches(X, 8))
    inner = dict(zip("xbde", values(NETWORK, X, *"xbde"), strict=True))
    for name, array in inner.items():
        axes = (0, 2, 3)
        np.testing.assert_allclose(found[name].greatest, np.abs(array).max(axis=axes), atol=1e-5)
        np.testing.assert_allclose(found[name].energy, np.square(array).mean(axis=axes), atol=1e-4)
        np.testing.assert_allclose(found[name].density, (array != 0).mean(axis=axes), atol=1e-6)
    assert set(found) == {"x", "a", "b", "c", "d", "e", "y"}


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_how_samples_are_split_does_not_matter(
    save: Save, monkeypatch: pytest.MonkeyPatch, method: module.Method
) -> None:
    path = save(NETWORK)
    whole = ranges(path, batches(X, 24), method)
    monkeypatch.setattr(module, "MOST_NUMBERS", 1)  # one sample at a time
    assert ranges(path, batches(X, 24), method) == pytest.approx(whole, abs=1e-5)


def test_a_fixed_batch_is_not_split(save: Save) -> None:
    fixed = onnx.ModelProto.FromString(NETWORK.SerializeToString())
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    assert ranges(save(fixed), batches(X, 8), "minmax") == pytest.approx(
        ranges(save(NETWORK, "any.onnx"), batches(X, 8), "minmax"), abs=1e-5
    )


def test_constants_and_whole_numbers_have_no_range(save: Save) -> None:
    model = parse(
        """g (float[N,4] x) => (float[N,4] y, int64[D] s) {
            one = Constant <value_float = 2.0> ()  h = Mul(x, one)  y = Add(h, w)  s = Shape(h)
        }""",
        {"w": normal(4)},
    )
    assert set(scan(save(model), [{"x": normal(3, 4)}])) == {"x", "h", "y"}


def test_infinity_is_refused(save: Save) -> None:
    model = parse("g (float[N,4] x) => (float[N,4] y) { h = Exp(x) y = Relu(h) }")
    with pytest.raises(ModelError, match="infinite or NaN"):
        scan(save(model), [{"x": np.full((1, 4), 1000, np.float32)}])


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        onnx.ModelProto.FromString(NETWORK.SerializeToString()),
        path,
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
    )
    assert "y" in scan(path, batches(X, 24))
