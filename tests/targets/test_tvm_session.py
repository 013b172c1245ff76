"""A session of the TVM backend over time: many runs, many threads, many openings."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tvm_networks import build, normal

from edgecc.target import Artifact, Session
from targets.tvm import TvmBackend

WEIGHTS_MB = 4
Opener = Callable[[], Session]


@pytest.fixture(scope="module", params=["whole", "in segments"])
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """A matrix product of 4 MB, and behind it what TVM takes, or does not."""
    last = "Softmax" if request.param == "whole" else "LpNormalization"
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[1,1024] x) => (float[1,1024] y)
        {{ a = MatMul (x, w)  b = Tanh (a)  y = {last} (b) }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(normal(1024, 1024) / 32, "w"))
    folder = tmp_path_factory.mktemp("network")
    artifact = build(model, folder, backend=TvmBackend().with_fallback())
    assert ("tvm/segments.json" in artifact.files) == (request.param != "whole")
    return lambda: TvmBackend().open(folder, Artifact.from_json(artifact.to_json()))


def memory_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def test_threads_share_a_session(opener: Opener) -> None:
    with opener() as session:
        inputs = [{"x": normal(1, 1024)} for _ in range(8)]
        wanted = [session.run(given)["y"] for given in inputs]
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda i: session.run(inputs[i % 8])["y"], range(64)))
    for i, array in enumerate(found):
        np.testing.assert_array_equal(array, wanted[i % 8])
    assert not np.array_equal(wanted[0], wanted[1])


def test_an_output_stays_as_it_was_when_the_next_is_computed(opener: Opener) -> None:
    with opener() as session:
        first = session.run({"x": normal(1, 1024)})["y"]
        copy = first.copy()
        session.run({"x": normal(1, 1024)})
    np.testing.assert_array_equal(first, copy)
    first += 1  # it is the caller's


@pytest.mark.slow
def test_a_thousand_runs_take_no_more_memory(opener: Opener) -> None:
    with opener() as session:
        x = {"x": normal(1, 1024)}
        for _ in range(50):
            session.run(x)
        before = memory_mb()
        for _ in range(1000):
            session.run(x)
        assert memory_mb() - before < 2


def test_closing_gives_the_weights_back(opener: Opener) -> None:
    def use() -> None:
        with opener() as session:
            session.run({"x": normal(1, 1024)})

    for _ in range(5):
        use()
    before = memory_mb()
    for _ in range(20):
        use()
    assert memory_mb() - before < 5 * WEIGHTS_MB
