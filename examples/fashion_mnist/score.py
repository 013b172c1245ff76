"""How good a network is, for `edgecc build --max-drop 1% --eval score.py:NAME`; greater is better.

On the 10,000 test images of Fashion-MNIST where EDGECC_ASSETS leads to them (data.py says how), on
the ten of images.npz otherwise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from data import default_folder
from evaluate import BATCH, read_images

from edgecc import Session

IMAGES, LABELS = read_images(default_folder())


def accuracy(session: Session) -> float:
    """Return the share of images whose class has the greatest logit: wants some hundred images."""
    return float((_logits(session).argmax(axis=1) == LABELS).mean())


def certainty(session: Session) -> float:
    """Return the mean probability of the right class: it shows a loss on a few images, too."""
    powers = np.exp(_logits(session))
    right = powers[np.arange(len(LABELS)), LABELS]
    return float((right / powers.sum(axis=1)).mean())


def _logits(session: Session) -> npt.NDArray[np.float64]:
    parts = [IMAGES[start : start + BATCH] for start in range(0, len(IMAGES), BATCH)]
    found = [session.run({"image": part})["logits"] for part in parts]
    return np.concatenate(found).astype(np.float64)
