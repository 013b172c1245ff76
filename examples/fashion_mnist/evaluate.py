"""Measure the accuracy of an ONNX model or of an edgecc bundle.

    python evaluate.py fashion_mnist.onnx [--data FOLDER] [--json]
    python evaluate.py BUNDLE [--data FOLDER] [--json]

The 10,000 test images of Fashion-MNIST are used where --data or EDGECC_ASSETS leads to them
(data.py says how), the ten of images.npz otherwise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from data import default_folder, load

OWN_IMAGES = Path(__file__).with_name("images.npz")
BATCH = 100  # where the model leaves it open

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer]
Run = Callable[[Floats], Floats]
Dimension = int | str | None


def main() -> None:
    """Print one line, or a JSON object."""
    parser = argparse.ArgumentParser(description="Measure the accuracy of a model or a bundle.")
    parser.add_argument("model", type=Path, help="MODEL.onnx or the folder of a bundle")
    parser.add_argument("--data", type=Path, default=default_folder())
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    options = parser.parse_args()
    if not options.model.exists():
        parser.error(f"{options.model} does not exist")
    try:
        images, labels = read_images(options.data)
    except FileNotFoundError as error:
        parser.error(str(error))
    correct = int((classify(options.model, images) == labels).sum())
    accuracy = correct / len(labels)
    if options.json:
        report = {
            "model": str(options.model),
            "data": str(options.data or OWN_IMAGES.name),
            "images": len(labels),
            "correct": correct,
            "accuracy": accuracy,
        }
        print(json.dumps(report))
    else:
        print(f"{options.model}: {correct} of {len(labels)} right ({accuracy:.2%})")


def read_images(folder: Path | None) -> tuple[Floats, Labels]:
    """Return images (N, 1, 28, 28) in 0..1 and labels (N,)."""
    if folder is None:
        with np.load(OWN_IMAGES) as arrays:
            return arrays["image"], arrays["label"]
    images, labels = load(folder, "test")
    return images[:, None].astype(np.float32) / np.float32(255), labels


def classify(model: Path, images: Floats) -> Labels:
    """Return the class with the greatest logit of each image, (N,)."""
    return _classify_bundle(model, images) if model.is_dir() else _classify_onnx(model, images)


def _classify_onnx(model: Path, images: Floats) -> Labels:
    import onnxruntime as ort

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[0]
    return _in_batches(lambda part: session.run(["logits"], {"image": part})[0], images, batch)


def _classify_bundle(folder: Path, images: Floats) -> Labels:
    import edgecc

    with edgecc.open(folder) as session:
        batch = session.inputs[0].shape[0]
        return _in_batches(lambda part: session.run({"image": part})["logits"], images, batch)


def _in_batches(run: Run, images: Floats, dimension: Dimension) -> Labels:
    size = dimension if isinstance(dimension, int) else BATCH
    found = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        missing = size - len(part) if isinstance(dimension, int) else 0
        padded = np.pad(part, ((0, missing), (0, 0), (0, 0), (0, 0)))
        found.append(run(padded)[: len(part)].argmax(axis=1))
    return np.concatenate(found)


if __name__ == "__main__":
    main()
