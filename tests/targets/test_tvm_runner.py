"""The C runner on this machine: its results, and what it says of wrong input."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from tvm_networks import (
    by_onnxruntime,
    classifier_of,
    error,
    given,
    normal,
    run_on_host,
)

from edgecc.target import Artifact


def test_runner_equals_onnxruntime_and_reports_times(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    model = classifier_of(folder)
    np.save(folder.parent / "x.npy", given(model)["x"])
    words = artifact.run.split()[1:]
    done = run_on_host(folder, *words, "--repeat", "4", "--warmup", "0", "--threads", "1")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["repeat"] == 4
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["max_ms"]
    got = np.load(folder.parent / "_fc_prob.npy")
    assert error(by_onnxruntime(model, given(model))[0], got) < 1e-5


def test_runner_runs_for_a_time_and_writes_each_time(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    np.save(folder.parent / "x.npy", given(classifier_of(folder))["x"])
    words, file = artifact.run.split()[1:], folder.parent / "times.txt"
    before = time.monotonic()
    done = run_on_host(folder, *words, "--for", "0.05", "--times", str(file))
    report = json.loads(done.stdout)
    times_ms = [float(line) for line in file.read_text().splitlines()]
    assert len(times_ms) == report["repeat"] > 1
    assert (min(times_ms), max(times_ms)) == (report["min_ms"], report["max_ms"])
    assert before < report["start_s"] < report["end_s"] < time.monotonic()
    assert 0.0499 < report["end_s"] - report["start_s"] < 5
    least = str(2 * len(times_ms))
    done = run_on_host(folder, *words, "--for", "0.001", "--repeat", least, "--times", str(file))
    assert json.loads(done.stdout)["repeat"] == int(least)
    assert len(file.read_text().splitlines()) == int(least)


def test_runner_helps(bundle: tuple[Path, Artifact]) -> None:
    done = run_on_host(bundle[0], "--help")
    assert done.returncode == 0
    assert "input  x: float32 1x3x16x16" in done.stdout
    assert "output /fc/prob: float32 1x5, written to _fc_prob.npy" in done.stdout


@pytest.fixture(scope="module")
def arrays(bundle: tuple[Path, Artifact]) -> Path:
    folder = bundle[0]
    x = normal(1, 3, 16, 16)
    np.save(folder / "good.npy", x)
    np.save(folder / "double.npy", x.astype(np.float64))
    np.save(folder / "small.npy", x[:, :2])
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    data = (folder / "good.npy").read_bytes()
    (folder / "short.npy").write_bytes(data[:-1])
    (folder / "long.npy").write_bytes(data + b"0")
    (folder / "header.npy").write_bytes(data[:50])
    (folder / "text.npy").write_text("1, 2, 3, 4, 5, 6, 7, 8")
    with (folder / "second.npy").open("wb") as stream:
        np.lib.format.write_array(stream, x, version=(2, 0))
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-i x=double.npy -o .", "type '<f8' given, input 'x' takes '<f4' (float32)"),
        ("-i x=small.npy -o .", "shape 1x2x16x16 given, input 'x' takes 1x3x16x16"),
        ("-i x=fortran.npy -o .", "only C order is read"),
        ("-i x=short.npy -o .", "3071 bytes of numbers, its shape takes 3072"),
        ("-i x=long.npy -o .", "more than 3072 bytes"),
        ("-i x=header.npy -o .", "ends in its header"),
        ("-i x=text.npy -o .", "is not a .npy file"),
        ("-i x=absent.npy -o .", "No such file"),
        ("-i z=good.npy -o .", "no input is named 'z'"),
        ("-i x -o .", "it is written NAME=FILE.npy"),
        ("-o .", "input 'x' is missing"),
        ("-i x=good.npy -i x=good.npy -o .", "given twice"),
        ("-i x=good.npy", "-o FOLDER is missing"),
        ("-i", "-i needs a value"),
        ("-i x=good.npy -o . --repeat many", "--repeat takes a whole number"),
        ("-i x=good.npy -o . --for ever", "--for takes a number of seconds above 0"),
        ("-i x=good.npy -o . --times t.txt", "--times needs --repeat or --for"),
        ("-i x=good.npy -o . --for 0.01 --times a/b", "cannot write a/b"),
        ("--fast", "there is no option --fast"),
        ("-i x=good.npy -o absent/absent", "cannot make absent/absent"),
    ],
)
def test_runner_says_what_is_wrong_in_one_line(arrays: Path, words: str, message: str) -> None:
    done = run_on_host(arrays, *words.split())
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_runner_reads_npy_version_2(arrays: Path) -> None:
    assert run_on_host(arrays, "-i", "x=second.npy", "-o", "out").returncode == 0
