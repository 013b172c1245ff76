from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecc.calibration import npz
from edgecc.calibration.data import CalibrationData, read_calibration
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.errors import UsageError
from edgecc.target import TensorSpec

X = TensorSpec("x", "float32", ("N", 3, 8, 8))
Z = TensorSpec("z", "float32", ("N", 2))
TOKENS = TensorSpec("t", "int32", ("N", 4))
NONE = Preprocessing()


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def whole(*shape: int, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(np.uint8)


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    return tmp_path / "calib.npz"


def read(path: Path, *specs: TensorSpec, by: Preprocessing = NONE, **arrays: Any) -> Any:
    if arrays:
        np.savez(path, **arrays)
    return read_calibration(path, specs or (X,), by)


def refused(path: Path, *specs: TensorSpec, by: Preprocessing = NONE, **arrays: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read(path, *specs, by=by, **arrays)
    assert caught.value.hint
    return str(caught.value)


def test_arrays_go_to_the_inputs_of_their_names(calib: Path) -> None:
    x, z = normal(5, 3, 8, 8), normal(5, 2)
    data = read(calib, X, Z, z=z, x=x)
    assert isinstance(data, CalibrationData)
    assert list(data.arrays) == ["x", "z"]
    assert np.array_equal(data.arrays["x"], x)
    assert np.array_equal(data.arrays["z"], z)
    assert (data.name, data.count, data.warnings) == ("calib.npz", 5, ())


def test_the_only_array_is_for_the_only_input(calib: Path) -> None:
    assert list(read(calib, arr_0=normal(2, 3, 8, 8)).arrays) == ["x"]


@pytest.mark.parametrize("kind", [np.float16, np.float64, ">f4", np.longdouble])
def test_floats_are_converted(calib: Path, kind: Any) -> None:
    x = normal(2, 3, 8, 8).astype(np.float16)
    found = read(calib, x=x.astype(kind)).arrays["x"]
    assert found.dtype == np.dtype("float32")
    assert found.flags.c_contiguous
    assert np.array_equal(found, x)


def test_what_is_no_input_is_ignored_and_told(calib: Path) -> None:
    x = normal(3, 3, 8, 8)
    data = read(calib, x=x, label=np.array([1, 2, 3]), name=np.array([{}]))
    assert list(data.arrays) == ["x"]
    assert np.array_equal(data.arrays["x"], x)
    assert data.warnings == ("calib.npz also holds 'label', 'name': no input, not looked at",)
    assert "no array for the input 'x'; it has images, label" in refused(calib, images=x, label=x)


def test_open_sizes_take_what_comes_if_it_is_the_same_everywhere(calib: Path) -> None:
    a, b = TensorSpec("a", "float32", ("N", "L", None)), TensorSpec("b", "float32", ("N", "L"))
    assert read(calib, a, b, a=normal(2, 7, 5), b=normal(2, 7)).count == 2
    assert "with 6 for L; elsewhere L is 7" in refused(
        calib, a, b, a=normal(2, 7, 5), b=normal(2, 6)
    )


def test_whole_numbers_where_floats_are_wanted_are_told(calib: Path) -> None:
    data = read(calib, x=whole(4, 3, 8, 8))
    assert data.arrays["x"].dtype == np.float32
    assert data.arrays["x"].max() == 255
    (warning,) = data.warnings
    assert "'x' is given whole numbers from 0 to 255" in warning
    assert "--image-scale" in warning
    (warning,) = read(calib, Z, z=whole(4, 2)).warnings
    assert "--image-scale" not in warning  # it is for images


@pytest.mark.parametrize("kind", ["uint8", "bool"])
def test_zeros_and_ones_are_not_told(calib: Path, kind: str) -> None:
    assert read(calib, x=whole(4, 3, 8, 8, high=2).astype(kind)).warnings == ()


def test_preprocessing_is_for_images_and_silences_the_warning(calib: Path) -> None:
    x, z = whole(4, 3, 8, 8), normal(4, 2)
    by = Preprocessing(scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2,))
    data = read(calib, X, Z, x=x, z=z, by=by)
    mean = np.array([0.4, 0.5, 0.6]).reshape(3, 1, 1)
    assert np.allclose(data.arrays["x"], (x / 255 - mean) / 0.2, rtol=0, atol=1e-5)
    assert np.array_equal(data.arrays["z"], z)
    assert data.warnings == ()
    assert read(calib, x=x, by=Preprocessing(scale=1.0)).warnings == ()


def test_preprocessing_that_an_npz_has_no_use_for(calib: Path) -> None:
    x = normal(2, 3, 8, 8)
    for by in (Preprocessing(layout="NHWC"), Preprocessing(resize="stretch", scale=0.5)):
        assert "is for pictures; calib.npz has arrays" in refused(calib, by=by, x=x)
    assert "channels is for pictures" in refused(calib, by=Preprocessing(channels="BGR"), x=x)
    assert "inputs of rank 4" in refused(calib, Z, by=Preprocessing(scale=0.5), z=normal(2, 2))
    assert "mean has 2 numbers; the input has 3" in refused(
        calib, by=Preprocessing(mean=(0.1, 0.2)), x=x
    )


def test_preprocessing_that_overflows(calib: Path) -> None:
    assert "float32 cannot hold" in refused(
        calib, by=Preprocessing(std=(1e-30,)), x=1e20 * normal(2, 3, 8, 8)
    )


def test_whole_numbers_for_whole_numbers(calib: Path) -> None:
    found = read(calib, TOKENS, t=whole(3, 4).astype(np.int64)).arrays["t"]
    assert found.dtype == np.int32
    assert "cannot hold" in refused(calib, TOKENS, t=np.array([[0, 1, 2, 2**40]]))
    assert "t' is float32" in refused(calib, TOKENS, t=normal(3, 4))
    flags = TensorSpec("f", "bool", ("N", 2))
    assert read(calib, flags, f=np.array([[0, 1]])).arrays["f"].dtype == np.bool_
    assert "bool cannot hold" in refused(calib, flags, f=np.array([[0, 2]]))


def test_files_that_are_no_npz(calib: Path, tmp_path: Path) -> None:
    calib.write_text("1,2,3")
    assert "is no .npz file" in refused(calib)
    calib.write_bytes(b"")
    assert "is no .npz file" in refused(calib)
    calib.write_bytes(b"PK\x03\x04" + bytes(50))
    assert "cannot read the arrays" in refused(calib)
    with calib.open("wb") as file:
        np.save(file, normal(2, 3, 8, 8))
    assert "is a single array (.npy)" in refused(calib)
    with calib.open("wb") as file:
        np.array([{}]).dump(file)
    assert "is no .npz file" in refused(calib)
    np.savez(calib)
    assert "calib.npz is empty" in refused(calib)
    with zipfile.ZipFile(calib, "w") as file:
        file.writestr("photo.png", b"PNG")
    assert "'photo.png', which is no array" in refused(calib)


@pytest.mark.parametrize("damage", range(0, 400, 13))
def test_damaged_files_end_in_a_message(calib: Path, damage: int) -> None:
    np.savez_compressed(calib, x=normal(1, 3, 8, 8))
    content = bytearray(calib.read_bytes())
    content[damage] ^= 0xFF
    calib.write_bytes(content)
    with contextlib.suppress(UsageError):  # nothing else may come
        read(calib)


def test_a_header_that_numpy_cannot_parse(calib: Path) -> None:
    with zipfile.ZipFile(calib, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00\x06\x00{'a':(")  # a TokenError
    assert "cannot read the arrays" in refused(calib)


def test_a_truncated_file(calib: Path) -> None:
    np.savez(calib, x=normal(4, 3, 8, 8))
    calib.write_bytes(calib.read_bytes()[:1000])
    assert "cannot read the arrays" in refused(calib)


def test_a_file_that_may_not_be_read(calib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(calib, x=normal(4, 3, 8, 8))

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "cannot read" in refused(calib)


def test_more_than_the_memory(calib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "MEMORY_BYTES", 1000)
    assert "GB of memory" in refused(calib, x=normal(4, 3, 8, 8))


def test_an_array_that_claims_to_be_huge(calib: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000), }"
    header += " " * (118 - len(header) - 1) + "\n"
    with zipfile.ZipFile(calib, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00\x76\x00" + header.encode())
    assert "calib.npz" in refused(calib)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"y": normal(2, 3, 8, 8), "z": normal(2, 2)}, "for the input 'x'; it has y\n"),
        ({"x": normal(2, 3, 8, 8)}, "no array for the input 'z'"),
        ({"x": normal(2, 3, 8, 8), "z": normal(3, 2)}, "has 2 of 'x' and 3 of 'z'"),
        ({"x": normal(2, 3, 8), "z": normal(2, 2)}, "'x' is 2x3x8, a sample without an axis"),
        ({"x": normal(2, 3), "z": normal(2, 2)}, "'x' is 2x3\n"),
        ({"x": normal(2, 3, 8, 9), "z": normal(2, 2)}, "'x' is 2x3x8x9\n  hint: it takes Nx3x8x8"),
        ({"x": normal(0, 3, 8, 8), "z": normal(0, 2)}, "'x' is 0x3x8x8: no samples"),
        ({"x": np.array("?"), "z": normal(2, 2)}, "'x' holds <U1, not numbers"),
        ({"x": normal(2, 3, 8, 8) * 1j, "z": normal(2, 2)}, "'x' holds complex64"),
        ({"x": np.array([{}]), "z": normal(2, 2)}, "cannot read the arrays"),
        ({"x": np.array(["2020-01-01"], "M8[D]"), "z": normal(2, 2)}, "not numbers"),
    ],
)
def test_arrays_that_do_not_fit(calib: Path, arrays: dict[str, Any], problem: str) -> None:
    assert problem in refused(calib, X, Z, **arrays)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(calib: Path, value: float) -> None:
    x = normal(4, 3, 8, 8)
    x[2, 1, 0, :5] = value
    x[3] = value
    assert "'x' has 197 numbers that are NaN or infinite, the first in sample 2" in refused(
        calib, x=x
    )


def test_too_few_samples_for_a_batch(calib: Path) -> None:
    batch = TensorSpec("x", "float32", (4, 3, 8, 8))
    assert "calib.npz has 3 samples; the network takes 4 at a time" in refused(
        calib, batch, x=normal(3, 3, 8, 8)
    )


def test_a_float16_network(calib: Path) -> None:
    half = TensorSpec("x", "float16", ("N", 2))
    assert read(calib, half, x=normal(3, 2)).arrays["x"].dtype == np.float16
    assert "float16 cannot hold" in refused(calib, half, x=1e6 * normal(3, 2))
