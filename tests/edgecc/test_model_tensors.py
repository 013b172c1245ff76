"""Weights that nobody vouches for: sizes that lie, files that are elsewhere or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from helpers import conv_model

from edgecc.errors import ModelError
from edgecc.model import load, model_sha256

Save = Callable[..., Path]


def external(tmp_path: Path, **entries: str) -> Path:
    """A model whose weight lies in another file, described by `entries`."""
    model = conv_model(4, 3, (3, 3), bias=False)
    weight = model.graph.initializer[0]
    data = weight.raw_data
    (tmp_path / "sub").mkdir()
    (tmp_path / "weights.bin").write_bytes(data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", **entries}.items():
        weight.external_data.add(key=key, value=value)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "", "sub/../../weights.bin"])
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder, location=location)
    (tmp_path / "weights.bin").write_bytes(b"x" * 432)
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(path)


def test_external_data_behind_a_link_that_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder, location="link.bin")
    (tmp_path / "secret.bin").write_bytes(b"x" * 432)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "absent.bin"}, "there is no file absent.bin"),
        ({"offset": "1000"}, "ends at byte"),
        ({"length": "12"}, "needs 432 bytes and has 12"),
        ({"offset": "-4"}, "ends at byte"),
        ({"length": "many"}, "no sensible place"),
    ],
)
def test_external_data_that_is_not_there(
    tmp_path: Path, entries: dict[str, str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load(external(tmp_path, **entries))


def test_external_data_that_others_may_change(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "other.bin").hardlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="several hard links"):
        load(path)


def test_sound_external_data_is_read(tmp_path: Path) -> None:
    path = external(tmp_path)
    assert load(path).graph.initializers["w"].const_value.numpy().shape == (4, 3, 3, 3)
    assert len(model_sha256(path)) == 64


def test_a_tensor_that_is_shorter_than_its_shape(save: Save) -> None:
    model = conv_model(4, 3, (3, 3))
    model.graph.initializer[0].dims[0] = 2**40
    with pytest.raises(ModelError, match=r"needs \d+ bytes and has 432"):
        load(save(model))
