"""The networks that the benchmarks measure: how their inputs are made, and what is good.

Images and models are the assets (`--assets FOLDER` or `EDGECC_ASSETS`, else ../shared/assets).
Every network is calibrated on inputs that it is not
measured on, 256 of them and none labelled.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
CALIBRATION = 256
CROP = 48
NOISE = 25 / 255
"""The deviation of the noise that dncnn25 was trained to take away."""
# What srmdnf_x2 takes of a blur, in coordinates that its authors publish as a MATLAB file only.
# These, found by descent through the network, are a bicubic shrink: 32.7 dB on Set5 where bicubic
# growth has 31.8; with zeros it has 15.0.
# fmt: off
BICUBIC = (0.29, 0.49, -0.11, 0.21, -0.33, -0.17, -0.24, 0.03, -0.08, -0.1, -0.17, 0.17, 0.3,
           -0.22, -0.73)
# fmt: on


@dataclass(frozen=True)
class Goal:
    """Multiply-adds to keep, and how good the network must be then."""

    macs: float
    allowed: float
    """Points of accuracy lost at most; decibels at least where the original is the standard."""
    part: Literal["all", "3x3"] = "all"
    """Whose multiply-adds `macs` is a share of."""


@dataclass(frozen=True)
class Fold:
    """Inputs to calibrate on and others to measure on, a batch each."""

    calibration: np.ndarray  # (N, C, H, W)
    inputs: Sequence[np.ndarray]
    labels: Sequence[np.ndarray] | None = None
    """Without labels, the original network's outputs are the standard."""


@dataclass(frozen=True)
class Network:
    """A network, its data, and the goals of the project."""

    model: Path
    folds: Callable[[], list[Fold]]
    goals: tuple[Goal, ...] = ()
    metric: Literal["accuracy", "PSNR"] = "accuracy"
    only_3x3: bool = False
    """Whether no other convolutions are rewritten."""

    @property
    def name(self) -> str:
        """The word on the command line."""
        return self.model.stem

    def met(self, goal: Goal, score: float, original: float) -> bool:
        """Whether a score is good enough for a goal."""
        if self.metric == "PSNR":
            return score >= goal.allowed
        return score >= original - goal.allowed / 100 - 1e-9


def networks(assets: Path) -> list[Network]:
    """The example, and the networks that the project has goals for."""
    models = assets / "models"
    imagenet, restore = models / "imagenet", models / "restore"
    data = partial(cifar, assets, prepare=lambda x: (x / 255 - MEAN) / DEVIATION)
    resnet_goals = (Goal(0.5, 1.5), Goal(0.33, 5.0))
    squeezenet_goals = (Goal(0.6, 2.5), Goal(0.6, 2.5, "3x3"))
    fidelity = (Goal(0.5, 38.0),)
    pixels, noisy, shrunk = (partial(f, assets) for f in (photographs, noisy_grey, shrunk_rgb))
    raw = partial(cifar, assets, prepare=lambda x: x)
    return [
        Network(ROOT / "examples/fashion_mnist/fashion_mnist.onnx", partial(fashion_mnist, assets)),
        Network(models / "cifar10/resnet20.onnx", data, resnet_goals),
        Network(models / "cifar10/resnet56.onnx", data, (Goal(0.5, 1.0),)),
        Network(models / "cifar10/mlperf_resnet8_wide.onnx", raw, (Goal(0.5, 2.0),)),
        Network(imagenet / "squeezenet1.1_fp16.onnx", pixels, squeezenet_goals, only_3x3=True),
        Network(restore / "srmdnf_x2.onnx", shrunk, fidelity, "PSNR"),
        Network(restore / "dncnn25.onnx", noisy, fidelity, "PSNR"),
    ]


def add_assets_option(parser: argparse.ArgumentParser) -> None:
    """Add `--assets`."""
    default = os.environ.get("EDGECC_ASSETS", str(ROOT.parent / "shared" / "assets"))
    parser.add_argument("--assets", type=Path, default=Path(default))


def check_assets(assets: Path) -> None:
    """Exit where there are none."""
    if not (assets / "data").is_dir():
        sys.exit(f"no data at {assets}; give --assets or EDGECC_ASSETS")


def nchw(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) to float32 (N, C, H, W)."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)


def cifar(assets: Path, prepare: Callable[[np.ndarray], np.ndarray]) -> list[Fold]:
    """CIFAR-10: calibrated on training images, measured on the 500 test images."""
    with np.load(assets / "data/cifar10/lossless.npz") as arrays:
        train, test, labels = (arrays[name] for name in ("train_x", "test_x", "test_y"))
    return [_fold(nchw(prepare(train[:CALIBRATION])), nchw(prepare(test)), labels)]


def fashion_mnist(assets: Path) -> list[Fold]:
    """Fashion-MNIST: measured on all 10,000 test images."""
    folder = assets / "data/fashion_mnist"
    with np.load(folder / "fashion_mnist_train.npz") as train:
        calibration = train["x"][:CALIBRATION, :, :, None] / 255
    with np.load(folder / "fashion_mnist_test.npz") as test:
        return [_fold(nchw(calibration), nchw(test["x"][..., None] / 255), test["y"])]


def photographs(assets: Path) -> list[Fold]:
    """ImageNet for SqueezeNet, BGR: each half is measured on, calibrated on the other half."""
    names, pixels = _imagenet(assets)
    labels = np.array([int(name.split("_")[0]) for name in names])
    inputs = nchw(pixels[..., ::-1] - np.array([104, 117, 123], np.float32))
    halves = [slice(0, None, 2), slice(1, None, 2)]
    ways = (halves, halves[::-1])
    return [_fold(inputs[other], inputs[half], labels[half], batch=1) for half, other in ways]


def crops96(assets: Path) -> Fold:
    """Photographs for vww96, RGB in 96x96, without labels: calibrated on those of 256 classes,
    measured on others.
    """
    _, pixels = _imagenet(assets)
    small = pixels[:, 16:208:2, 16:208:2] / 255
    return Fold(nchw(small[:CALIBRATION]), [nchw(small[CALIBRATION:])])


def noisy_grey(assets: Path) -> list[Fold]:
    """Noisy grey pictures (1, 1, H, W): Set5; calibrated on crops of ImageNet."""
    random = np.random.default_rng(0)

    def noisy(picture: np.ndarray) -> np.ndarray:
        grey = picture @ np.array([0.299, 0.587, 0.114], np.float32) / 255
        return (grey + NOISE * random.standard_normal(grey.shape, np.float32))[None, None]

    test = [noisy(picture) for picture in _set5(assets)]
    return [Fold(np.concatenate([noisy(crop) for crop in _crops(assets, CROP)]), test)]


def shrunk_rgb(assets: Path) -> list[Fold]:
    """Pictures at half their size and what they were blurred by (1, 18, H, W): as `noisy_grey`."""
    test = [_shrunk(picture) for picture in _set5(assets)]
    return [Fold(np.concatenate([_shrunk(crop) for crop in _crops(assets, 2 * CROP)]), test)]


def session(model: Path, threads: int = 2) -> ort.InferenceSession:
    """Open a model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs(model: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first output for each of `inputs`, which take the type that the network wants."""
    one = session(model)
    x = one.get_inputs()[0]
    dtype = np.float16 if x.type == "tensor(float16)" else np.float32
    return [one.run(None, {x.name: batch.astype(dtype)})[0] for batch in inputs]


def accuracy(found: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """The share of images whose greatest output is their label."""
    pairs = zip(found, labels, strict=True)
    right = sum(int((y.reshape(len(y), -1).argmax(1) == label).sum()) for y, label in pairs)
    return right / sum(map(len, labels))


def psnr(found: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """How near pictures are to others in decibels, peak 1.0, averaged over the pictures."""
    pairs = zip(found, reference, strict=True)
    errors = [np.mean((a.astype(np.float64) - b) ** 2) for a, b in pairs]
    return float(np.mean([10 * np.log10(1 / error) if error else np.inf for error in errors]))


def _fold(
    calibration: np.ndarray, inputs: np.ndarray, labels: np.ndarray, batch: int = 100
) -> Fold:
    cuts = range(batch, len(inputs), batch)
    return Fold(calibration, np.split(inputs, cuts), np.split(labels, cuts))


def _imagenet(assets: Path) -> tuple[list[str], np.ndarray]:
    """File names and pixels (N, 224, 224, 3), RGB."""
    with zipfile.ZipFile(assets / "data/imagenet/one_per_class_224.zip") as files:
        names = sorted(name for name in files.namelist() if name.endswith(".jpg"))
        read = [Image.open(io.BytesIO(files.read(name))).convert("RGB") for name in names]
    return [Path(name).name for name in names], np.stack([np.asarray(image) for image in read])


def _set5(assets: Path) -> list[np.ndarray]:
    """The five pictures (H, W, 3) of Set5, cut to even sizes."""
    paths = sorted((assets / "data/set5").glob("*.bmp"))
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return [p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in pictures]


def _crops(assets: Path, size: int) -> list[np.ndarray]:
    """One crop (size, size, 3) of each of 256 pictures of ImageNet."""
    random = np.random.default_rng(1)
    _, pictures = _imagenet(assets)
    chosen = pictures[np.linspace(0, len(pictures) - 1, CALIBRATION).astype(int)]
    corners = random.integers(0, pictures.shape[1] - size + 1, (CALIBRATION, 2))
    pairs = zip(chosen, corners, strict=True)
    return [picture[y : y + size, x : x + size] for picture, (y, x) in pairs]


def _shrunk(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) to (1, 18, H/2, W/2), as srmdnf_x2 takes it."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    pixels = nchw(np.asarray(small)[None] / 255)
    blur = np.array(BICUBIC, np.float32)[:, None, None]
    return np.concatenate([pixels, np.broadcast_to(blur, (1, 15, height, width))], axis=1)
