"""What a lowered network may differ by, and what is said where it differs by more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from batchnormed import NETWORK

from edgecc import model, shapes
from edgecc.errors import BuildError
from edgecc.target import Arrays, Artifact, Session
from edgecc.verify import Proofs

PLAIN = Artifact("tvm", None, (), "", details={"winograd": {}})
MINIMAL = Artifact("tvm", None, (), "", details={"winograd": {"F(4x4, 3x3)": 3}})
OFF = Artifact("tvm", None, (), "", details={"winograd": "off"})


class Off(Session):
    """A network that is off by so much of its largest output."""

    def __init__(self, expected: Arrays, error: float) -> None:
        self._made = {name: a + np.float32(error) * np.abs(a).max() for name, a in expected.items()}

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        return self._made


@pytest.fixture
def proofs(save: Callable[..., Path]) -> Proofs:
    path = save(NETWORK)
    graph = model.load(path)
    return Proofs.of(path, graph, shapes.settle(graph, {}, dynamic=False))


@pytest.mark.parametrize("error", [0.0, 1e-6, 5e-5])
def test_rounding_passes(proofs: Proofs, error: float) -> None:
    found = proofs.check_lowered(Off(proofs.reference, error), proofs.reference, MINIMAL)
    assert found.max_rel_error == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize("error", [3e-4, 1.0])
def test_more_than_rounding_does_not(proofs: Proofs, error: float) -> None:
    """An epsilon of 1e-3 in place of 1e-5 in a normalisation changes this much."""
    hints = []
    for artifact in (PLAIN, OFF, MINIMAL):
        with pytest.raises(BuildError, match="the lowered network differs from onnx") as caught:
            proofs.check_lowered(Off(proofs.reference, error), proofs.reference, artifact)
        hints.append(caught.value.hint)
    assert hints[0] == hints[1] == "--backend onnxruntime runs it; please report the model"
    assert hints[2] == f"--no-winograd is more exact, {hints[0]}"
