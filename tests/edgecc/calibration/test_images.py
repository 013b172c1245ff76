from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecc.calibration import images
from edgecc.calibration.data import CalibrationData, read_calibration
from edgecc.calibration.preprocessing import Preprocessing
from edgecc.errors import UsageError
from edgecc.target import TensorSpec

RAW = Preprocessing(scale=1.0)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def spec(*shape: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec("x", dtype, shape or ("N", 3, 8, 8))


def noise(height: int = 8, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def save(folder: Path, count: int, height: int = 8, width: int = 8) -> np.ndarray:
    """Write pictures of noise; return them as (N, H, W, C)."""
    pixels = np.stack([noise(height, width, seed) for seed in range(count)])
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number:03}.png")
    return pixels


def read(
    folder: Path, of: TensorSpec | None = None, by: Preprocessing = RAW, limit: int = 256
) -> CalibrationData:
    return read_calibration(folder, (of or spec(),), by, limit=limit)


def refused(folder: Path, *specs: TensorSpec, by: Preprocessing = RAW) -> str:
    with pytest.raises(UsageError) as caught:
        read_calibration(folder, specs or (spec(),), by)
    assert caught.value.hint
    return str(caught.value)


def test_pictures_of_the_right_size_keep_their_pixels(photos: Path) -> None:
    pixels = save(photos, 5)
    data = read(photos)
    assert data.arrays["x"].dtype == np.float32
    assert data.arrays["x"].flags.c_contiguous
    assert np.array_equal(data.arrays["x"], pixels.transpose(0, 3, 1, 2))
    assert (data.name, data.count, data.warnings) == ("photos/ (5 images)", 5, ())


def test_they_are_taken_evenly_by_name_and_in_whole_batches(photos: Path) -> None:
    pixels = save(photos, 10).transpose(0, 3, 1, 2)
    some = read(photos, limit=4)
    assert some.name == "photos/ (4 of 10 images)"
    assert np.array_equal(some.arrays["x"], pixels[[0, 2, 5, 7]])
    assert read(photos, spec(4, 3, 8, 8)).count == 8
    assert "photos/ has 10 samples; the network takes 16" in refused(photos, spec(16, 3, 8, 8))


@pytest.mark.parametrize("kind", ["jpg", "JPEG", "png", "bmp", "ppm", "webp"])
def test_every_kind_of_file(photos: Path, kind: str) -> None:
    smooth = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    Image.fromarray(smooth).save(photos / f"a.{kind}", quality=95)
    (photos / ".hidden.png").write_text("no picture")
    (photos / "notes.txt").write_text("no picture")
    (photos / "folder.png").mkdir()
    data = read(photos, spec(1, 3, 16, 16))
    assert data.name == "photos/ (1 image)"
    assert np.abs(data.arrays["x"][0].transpose(1, 2, 0) - smooth).max() < 30  # lossy kinds


def test_preprocessing_is_applied(photos: Path) -> None:
    pixels = save(photos, 2)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6])
    by = Preprocessing(scale=1 / 255, mean=tuple(mean), std=tuple(std))
    wanted = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert np.allclose(read(photos, by=by).arrays["x"], wanted, rtol=0, atol=1e-5)
    last = read(photos, spec("N", 8, 8, 3), by).arrays["x"]
    assert np.allclose(last.transpose(0, 3, 1, 2), wanted, rtol=0, atol=1e-5)


def test_without_preprocessing_zero_to_one_is_a_guess_and_told(photos: Path) -> None:
    pixels = save(photos, 2)
    data = read(photos, by=Preprocessing())
    assert np.allclose(data.arrays["x"].transpose(0, 2, 3, 1), pixels / 255, rtol=0, atol=1e-6)
    (warning,) = data.warnings
    assert "which is a guess" in warning


def test_an_input_of_whole_numbers_gets_the_pixels(photos: Path) -> None:
    pixels = save(photos, 2)
    found = read(photos, spec("N", 8, 8, 3, dtype="uint8"), Preprocessing()).arrays["x"]
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("shape", [("N", 3, 8, 8), ("N", 8, 8, 3)])
def test_the_order_of_colours(photos: Path, shape: tuple[int | str, ...]) -> None:
    pixels = save(photos, 2)
    wanted = pixels[..., ::-1]
    found = read(photos, spec(*shape), Preprocessing(scale=1.0, channels="BGR")).arrays["x"]
    assert np.array_equal(found if shape[3] == 3 else found.transpose(0, 2, 3, 1), wanted)


def test_grey_and_transparent_inputs(photos: Path) -> None:
    pixels = save(photos, 2)
    grey = read(photos, spec("N", 1, 8, 8)).arrays["x"]
    wanted = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[:, 0] - wanted).max() < 1
    four = read(photos, spec("N", 4, 8, 8), Preprocessing(scale=1.0, channels="BGR")).arrays["x"]
    assert np.array_equal(four[:, 2::-1].transpose(0, 2, 3, 1), pixels)
    assert (four[:, 3] == 255).all()


def picture(mode: str) -> Image.Image:
    """Red on the left, blue on the right (black and white without colours), in `mode`."""
    halves = Image.new("RGB", (8, 8), RED)
    halves.paste(BLUE, (4, 0, 8, 8))
    if mode in ("L", "LA", "1"):
        grey = Image.new("L", (8, 8), 0)
        grey.paste(255, (4, 0, 8, 8))
        return grey.convert(mode)
    if mode.startswith("I"):
        deep = np.zeros((8, 8), np.uint16)
        deep[:, 4:] = 0xFFFF
        return Image.fromarray(deep)
    return halves.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "png"),
        ("RGBA", "png"),
        ("P", "png"),
        ("CMYK", "jpg"),
        ("L", "png"),
        ("LA", "png"),
        ("1", "png"),
        ("I;16", "png"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_picture(photos: Path, mode: str, kind: str, channels: int) -> None:
    picture(mode).save(photos / f"a.{kind}", **({"quality": 100} if kind == "jpg" else {}))
    found = read(photos, spec(1, channels, 8, 8)).arrays["x"][0]
    coloured = mode in ("RGB", "RGBA", "P", "CMYK")
    left, right = (RED, BLUE) if coloured else ((0,) * 3, (255,) * 3)
    if channels == 1:
        left, right = ((76,), (29,)) if coloured else ((0,), (255,))
    assert np.abs(found[:, 4, 0] - left).max() < 4  # JPEG's own loss
    assert np.abs(found[:, 4, 7] - right).max() < 4


def test_sixteen_bits_keep_their_high_byte(photos: Path) -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(deep).save(photos / "a.png")
    assert np.array_equal(read(photos, spec(1, 1, 8, 8)).arrays["x"][0, 0], deep // 256)


def test_transparent_palettes_are_read(photos: Path) -> None:
    halves = picture("P")
    halves.save(photos / "a.png", transparency=bytes([0, 255]))
    assert read(photos).arrays["x"][0, :, 4, 0].tolist() == [*RED]


def test_a_camera_held_sideways_is_followed(photos: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the right way up after a quarter turn clockwise
    wide = Image.new("RGB", (16, 8), RED)
    wide.paste(BLUE, (8, 0, 16, 8))
    wide.save(photos / "a.png", exif=exif)
    found = read(photos, spec(1, 3, "H", "W")).arrays["x"][0]
    assert found.shape == (3, 16, 8)
    assert found[:, 2, 4].tolist() == [*RED]
    assert found[:, 13, 4].tolist() == [*BLUE]


def wide(photos: Path, kind: str = "png") -> Path:
    """Write a picture of 32x16 pixels: red, then green over the middle half, then blue."""
    three = Image.new("RGB", (32, 16), RED)
    three.paste(GREEN, (8, 0, 24, 16))
    three.paste(BLUE, (24, 0, 32, 16))
    three.save(photos / f"a.{kind}", **({"quality": 100} if kind == "jpg" else {}))
    return photos


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_crop_takes_the_middle_and_stretch_takes_all(photos: Path, kind: str) -> None:
    folder = wide(photos, kind)
    cropped = read(folder, spec(1, 3, 8, 8)).arrays["x"][0]
    for column in (1, 4, 6):  # beyond them lie the edges
        assert np.abs(cropped[:, 4, column] - GREEN).max() < 12  # JPEG's own loss
    by = Preprocessing(scale=1.0, resize="stretch")
    stretched = read(folder, spec(1, 3, 8, 8), by).arrays["x"][0]
    for column, colour in ((0, RED), (4, GREEN), (7, BLUE)):
        assert np.abs(stretched[:, 4, column] - colour).max() < 60  # the edges are smoothed


def test_scaling_down_averages_what_lies_between(photos: Path) -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::2] = 255
    lines[0, 0] = 0
    Image.fromarray(lines).save(photos / "a.png")
    found = read(photos, spec(1, 3, 8, 8)).arrays["x"]
    assert np.abs(found - 127.5).max() < 16


def test_open_sizes_keep_those_of_the_pictures(photos: Path) -> None:
    pixels = save(photos, 3, 5, 12)
    data = read(photos, spec("N", 3, "H", "W"))
    assert np.array_equal(data.arrays["x"], pixels.transpose(0, 3, 1, 2))
    assert data.warnings == ()
    by = Preprocessing(scale=1.0, channels="RGB", layout="NHWC")
    assert np.array_equal(read(photos, spec("N", "H", "W", "C"), by).arrays["x"], pixels)


def test_open_sizes_and_different_pictures_take_the_middle_of_each(photos: Path) -> None:
    first, second = noise(20, 31), noise(41, 22)
    Image.fromarray(first).save(photos / "a.png")
    Image.fromarray(second).save(photos / "b.png")
    data = read(photos, spec("N", 3, None, None))
    assert np.array_equal(data.arrays["x"][0], first[2:18, 7:23].transpose(2, 0, 1))
    assert np.array_equal(data.arrays["x"][1], second[12:28, 3:19].transpose(2, 0, 1))
    (warning,) = data.warnings
    assert "differ in size" in warning
    assert "16x16 pixels" in warning
    Image.fromarray(noise(7, 40)).save(photos / "c.png")
    assert "have 22x7 pixels" in refused(photos, spec("N", 3, "H", "W"))


def test_a_folder_without_images(photos: Path) -> None:
    assert "photos has no images, but nothing" in refused(photos)
    for name in ("a.txt", "b.tif", "c.csv", "d.gif", "f.mp4", "g.mov", ".DS_Store"):
        (photos / name).touch()
    (photos / "cats").mkdir()
    assert "no images, but a.txt, b.tif, c.csv, cats/, d.gif and 2 more" in refused(photos)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
@pytest.mark.parametrize("size", [(8, 8), ("H", "W")])
def test_a_broken_picture_is_named(
    photos: Path, content: bytes, size: tuple[int | str, int | str]
) -> None:
    save(photos, 2)
    (photos / "broken.jpg").write_bytes(content)
    assert "broken.jpg: " in refused(photos, spec("N", 3, *size))


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "ppm"])
def test_a_truncated_picture_is_named(photos: Path, kind: str) -> None:
    Image.fromarray(noise(64, 64)).save(photos / f"a.{kind}")
    content = (photos / f"a.{kind}").read_bytes()
    (photos / f"a.{kind}").write_bytes(content[: len(content) // 2])
    assert f"a.{kind}: " in refused(photos)


def test_files_that_would_start_a_program_are_not_opened(photos: Path) -> None:
    Image.fromarray(noise()).save(photos / "a.eps")
    (photos / "a.eps").rename(photos / "a.jpg")
    assert "a.jpg: it is no image" in refused(photos)


def test_pictures_that_claim_to_be_huge(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(photos, 1, 64, 64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "000.png: " in refused(photos)


def test_more_than_the_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(photos, 2, 64, 64)
    monkeypatch.setattr(images, "MEMORY_BYTES", 1000)
    assert "2 images of 64x64 pixels take" in refused(photos, spec("N", 3, "H", "W"))


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (("N", 10), "an input of rank 4"),
        (("N", 18, 8, 8), "neither 1, 3 nor 4 channels"),
        (("N", 18, "H", "W"), "it has 18 channels"),
        (("N", "C", "H", "W"), "does not show which axis has the channels"),
        (("N", 3, 8, 3), "does not show which axis has the channels"),
        (("N", 3, 8, "W"), "leaves one of height and width open"),
    ],
)
def test_inputs_that_are_no_images(
    photos: Path, shape: tuple[int | str, ...], problem: str
) -> None:
    save(photos, 2)
    assert problem in refused(photos, spec(*shape))


def test_networks_with_more_inputs(photos: Path) -> None:
    save(photos, 2)
    assert "with one input" in refused(photos, spec(), TensorSpec("z", "float32", ("N", 2)))


def test_channels_that_do_not_fit(photos: Path) -> None:
    save(photos, 2)
    assert "pictures in grey do not fit" in refused(photos, by=Preprocessing(channels="grey"))
    assert "say --image-channels grey" in refused(
        photos, spec("N", 1, 8, 8), by=Preprocessing(channels="BGR")
    )
    assert "leaves its channels open" in refused(
        photos, spec("N", "C", 8, 8), by=Preprocessing(layout="NCHW")
    )
    assert "the mean has 2 numbers" in refused(photos, by=Preprocessing(mean=(1.0, 2.0)))


def test_an_unreadable_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    assert "Permission denied" in refused(photos)
