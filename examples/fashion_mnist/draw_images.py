"""Draw ten grey 28x28 images, one for each class of Fashion-MNIST, from polygons.

    python draw_images.py [--out images.npz] [--show]

They are the project's own, so the example runs without the data set. The archive holds `image`
float32 (10, 1, 28, 28) in 0..1 and `label` int64 (10,); the same bytes come out each time.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from data import CLASSES

SIZE = 28
SAMPLES = 8  # per pixel and axis, for smooth edges

Point = tuple[float, float]  # x, y in pixels from the upper left corner
Shade = tuple[float, Sequence[Point]]  # brightness 0..1 of a filled polygon
Grey = npt.NDArray[np.float32]


def symmetric(*left: Point) -> list[Point]:
    """Return the outline whose left half is `left`, top to bottom."""
    return [*left, *((SIZE - x, y) for x, y in reversed(left))]


def line(*points: Point, width: float = 1.0) -> list[Point]:
    """Return the outline of a stroke through `points`, `width` pixels high."""
    return [*points, *((x, y + width) for x, y in reversed(points))]


LONG_SLEEVED = symmetric((11, 1), (7.5, 3), (5, 10), (3.5, 26), (6.5, 26.5), (8, 13), (8, 26.5))

# Later polygons cover earlier ones.
DRAWINGS: dict[str, list[Shade]] = {
    "T-shirt": [
        (0.5, symmetric((10.5, 1.5), (7.5, 2.5), (3.5, 9), (6, 11), (7.8, 10), (7.8, 26.8))),
        (0.0, symmetric((11, 1), (12.5, 3.2))),
    ],
    "trouser": [
        (0.72, symmetric((9.2, 0.5), (8.6, 27), (12, 27), (13.6, 9))),
        (0.45, symmetric((9.2, 0.5), (9.2, 1.8))),
    ],
    "pullover": [
        (0.58, LONG_SLEEVED),
        (0.4, symmetric((8, 24.5), (8, 26.5))),
        (0.0, symmetric((11, 1), (12, 2.2))),
    ],
    "dress": [
        (0.6, symmetric((10.5, 0.5), (10, 6), (11, 11.5), (8.2, 27))),
        (0.0, symmetric((12, 0), (12.8, 4))),
        (0.4, symmetric((11, 11), (11, 12.3))),
    ],
    "coat": [
        (0.75, LONG_SLEEVED),
        (0.2, symmetric((13.6, 5), (13.6, 26.5))),
        (0.35, symmetric((11, 1), (13.6, 7))),
    ],
    "sandal": [
        (0.7, [(1, 20), (9, 19), (16, 17), (26, 13), (27, 21), (24, 21), (23, 18), (8, 22)]),
        (0.6, line((4, 19), (8, 14), (12, 18), width=1.5)),
        (0.6, line((13, 17), (19, 8), (25, 9), (26, 13), width=1.5)),
    ],
    "shirt": [
        (0.5, symmetric((11, 1), (7.5, 2.5), (4.5, 10), (3.5, 20), (6.5, 21), (8, 12), (8, 27))),
        (0.8, symmetric((10.5, 0.8), (11.5, 4))),
        (0.7, symmetric((13.6, 4), (13.6, 27))),
    ],
    "sneaker": [
        (0.75, [(1, 16), (8, 14.5), (14, 11), (17, 12.5), (22, 12), (26, 9.5), (27, 18), (1, 18)]),
        (0.9, [(1, 17.5), (27, 17.5), (27, 19.8), (1, 19.8)]),
        (0.3, [(9, 14.5), (13.5, 11.5), (15, 13), (11, 16)]),
    ],
    "bag": [
        (0.5, symmetric((8, 4), (6, 11), (7.2, 11), (9, 5.2))),
        (0.62, symmetric((3, 10.5), (1.5, 25), (3, 26))),
        (0.4, symmetric((3, 10.5), (2.8, 13))),
    ],
    "boot": [
        (0.68, [(14, 4), (24, 3), (26, 14), (26.5, 24), (2, 24), (2, 20), (10, 16), (14, 11)]),
        (0.35, [(1.5, 23), (26.5, 23), (26.5, 26), (20.5, 26), (20, 24.5), (1.5, 24.5)]),
    ],
}


def coverage(outline: Sequence[Point]) -> Grey:
    """Return the share of each pixel inside a closed outline, by the even-odd rule."""
    centres = (np.arange(SIZE * SAMPLES) + 0.5) / SAMPLES
    x, y = np.meshgrid(centres, centres)
    inside = np.zeros(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(outline, [*outline[1:], outline[0]], strict=True):
        if y0 != y1:
            crossing = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            inside ^= ((y0 > y) != (y1 > y)) & (x < crossing)
    samples = inside.reshape(SIZE, SAMPLES, SIZE, SAMPLES).astype(np.float32)
    share: Grey = samples.mean(axis=(1, 3))
    return share


def draw(shades: Sequence[Shade]) -> Grey:
    """Return one image, (28, 28)."""
    image = np.zeros((SIZE, SIZE), dtype=np.float32)
    for brightness, outline in shades:
        share = coverage(outline)
        image += share * (np.float32(brightness) - image)
    return image


def main() -> None:
    """Write the archive; with --show, also print the images as characters."""
    parser = argparse.ArgumentParser(description="Draw the example images.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("images.npz"))
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    images = np.stack([draw(DRAWINGS[name]) for name in CLASSES])[:, None]
    np.savez_compressed(options.out, image=images, label=np.arange(len(CLASSES), dtype=np.int64))
    if options.show:
        for name, image in zip(CLASSES, images[:, 0], strict=True):
            print(name)
            print("\n".join("".join(" .:-=+*#%@"[int(v * 9.99)] * 2 for v in row) for row in image))


if __name__ == "__main__":
    main()
