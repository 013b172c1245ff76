from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import conv_model, normal, outputs, parse

from edgecc import job

Save = Callable[..., Path]


@pytest.fixture
def bundle(save: Save, tmp_path: Path) -> Path:
    return job.build(save(conv_model(4, 8, (3, 3))), passes="", out=tmp_path / "out").folder


def run(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "onnxruntime/run.py", "model.onnx", *arguments]
    return subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)


def test_the_runner_needs_nothing_of_edgecc(bundle: Path) -> None:
    x = normal(1, 8, 11, 11)
    np.save(bundle / "x.npy", x)
    report = json.loads((bundle / "report.json").read_text())
    assert report["artifact"]["run"] == "python3 onnxruntime/run.py model.onnx -i x=../x.npy -o .."
    result = run(bundle, "-i", "x=x.npy", "-o", "results", "--repeat", "3", "--threads", "1")
    assert result.returncode == 0, result.stderr
    times = json.loads(result.stdout)
    assert 0 < times["min_ms"] <= times["median_ms"] <= times["max_ms"]
    expected = outputs(conv_model(4, 8, (3, 3)), x=x)["y"]
    np.testing.assert_array_equal(np.load(bundle / "results" / "y.npy"), expected)
    assert "edgecc" not in (bundle / "onnxruntime" / "run.py").read_text().replace(
        "nothing of edgecc", ""
    )


def test_the_runner_runs_for_a_time_and_tells_each_run_and_node(bundle: Path) -> None:
    np.save(bundle / "x.npy", normal(1, 8, 11, 11))
    words = ("-i", "x=x.npy", "-o", "results", "--threads", "1", "--times", "times.txt")
    before = time.monotonic()
    result = run(bundle, *words, "--for", "0.05", "--profile", "nodes.json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    times_ms = [float(line) for line in (bundle / "times.txt").read_text().splitlines()]
    assert len(times_ms) == report["repeat"] > 1
    assert before < report["start_s"] < report["end_s"] < time.monotonic()
    assert 0.05 <= report["end_s"] - report["start_s"] < 5
    nodes = json.loads((bundle / "nodes.json").read_text())
    assert 0 < sum(node["median_ms"] for node in nodes) < max(times_ms)
    assert all(0 < node["average_ms"] < max(times_ms) for node in nodes)
    assert [node["op"] for node in nodes if "Reorder" not in node["op"]] == ["Conv"]
    assert not list(bundle.glob("nodes.json.trace*"))


def test_the_runner_wants_something_to_time(bundle: Path) -> None:
    result = run(bundle, "-o", "results", "--times", "times.txt")
    assert result.returncode == 2
    assert "--times needs --repeat or --for" in result.stderr


def test_several_inputs_and_types(save: Save, tmp_path: Path) -> None:
    model = parse(
        """g (float[2,3] a, int64[2,3] i, bool[2,3] c) => (float[2,3] y, int64[2,3] k) {
            f = Cast <to=1> (i)  s = Add(a, f)  z = Neg(s)  y = Where(c, s, z)  k = Abs(i)
        }"""
    )
    folder = job.build(save(model), out=tmp_path / "out").folder
    import edgecc

    with edgecc.open(folder) as session:
        assert [spec.dtype for spec in session.inputs] == ["float32", "int64", "bool"]
        found = session.run({"a": [[1, 2, 3]] * 2, "i": [[1, -2, 3]] * 2, "c": [[True] * 3] * 2})
    np.testing.assert_array_equal(found["y"], np.array([[2, 0, 6]] * 2, np.float32))
    np.testing.assert_array_equal(found["k"], [[1, 2, 3]] * 2)
