"""Budgets and calibration at the command line: what a user types, sees and is left with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import FEW, Place, build, edgecc, words
from helpers import normal, outputs, parse
from residual import NETWORK, X
from sampled import samples

Save = Callable[..., Path]


def process(*arguments: object, cwd: Path, threads: int) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, BLAS told from outside how many threads to take."""
    return subprocess.run(
        [sys.executable, "-m", "edgecc", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)},
        timeout=120,
        check=False,
    )


def test_half_of_the_multiply_adds_end_to_end(place: Place) -> None:
    model, calib, out = place
    order = ("build", model, "--macs", "0.5", "--calib", calib, *FEW)
    first = process(*order, cwd=out.parent, threads=1)
    assert first.returncode == 0, first.stderr
    folder = out.parent / "net-host"
    assert "planned for --macs 0.5; the convolutions' predicted time" in first.stdout
    assert "calibrated on x.npz: 24 samples of x" in first.stderr
    assert "against the original, on 24 calibration samples (x.npz): " in first.stdout
    assert "edgecc build net.onnx: plan" in first.stderr
    report = json.loads((folder / "report.json").read_text())
    assert report["goal"] == {"macs": 0.5}
    assert report["calibration"]["samples"] == 24
    assert report["planning"]["predicted"]["macs"] <= 0.5
    assert report["macs"]["after"] <= 0.5 * report["macs"]["before"]
    assert {"plan", "rewrite"} <= set(report["timings_s"])
    order = ("build", model, "--plan", folder / "plan.json", "--calib", calib, "--out", out)
    again = process(*order, cwd=out.parent, threads=2)
    assert again.returncode == 0, again.stderr
    assert (out / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    assert edgecc("verify", out, "--against", model).exit_code == 0


def test_a_plan_without_its_samples(place: Place) -> None:
    build(place, "--macs", "0.5", *FEW)
    model, _, out = place
    result = edgecc("build", model, "--plan", out / "plan.json", "--out", f"{out}2")
    assert result.exit_code == 2
    assert words(result.stderr).endswith(
        "edgecc: the plan is fitted on calibration samples (x.npz) "
        "hint: give them again with --calib, and their preprocessing"
    )
    assert not Path(f"{out}2").exists()


def test_made_up_samples_need_no_second_word(place: Place) -> None:
    model, _, out = place
    first = edgecc("build", model, "--macs", "0.5", "--families", "basis", "--out", out)
    assert first.exit_code == 0, first.stderr
    assert "calibrated on synthetic: 128 samples of x" in words(first.stderr)
    again = edgecc("build", model, "--plan", out / "plan.json", "--out", f"{out}2")
    assert again.exit_code == 0, again.stderr
    assert Path(f"{out}2/model.onnx").read_bytes() == (out / "model.onnx").read_bytes()


@pytest.fixture
def one_core() -> Iterator[None]:
    """The host's prices are of all its cores; on many, little is left but overhead."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("quantity", ["latency", "energy"])
def test_time_and_energy_at_the_hosts_prices(save: Save, tmp_path: Path, quantity: str) -> None:
    weights = {f"w{i}": normal(48, 48, 3, 3, seed=i) / 25 for i in range(2)}
    model = parse(
        """g (float[N,48,12,12] x) => (float[A,B,C,D] y) {
            a = Conv <pads=[1,1,1,1]> (x, w0)  b = Relu(a)  y = Conv <pads=[1,1,1,1]> (b, w1)
        }""",
        weights,
    )
    np.savez(tmp_path / "x.npz", x=samples(4, 48, 12))
    place = save(model), tmp_path / "x.npz", tmp_path / "out"
    report = build(place, f"--{quantity}", "0.85", "--families", "basis")
    assert report["goal"] == {quantity: 0.85}
    predicted = report["planning"]["predicted"]
    assert predicted[quantity] <= 0.85
    assert predicted["macs"] < 0.85
    assert report["planning"]["prices"] == "roofline of host, fp32, 1 core"


def scores(place: Place, body: str) -> str:
    path = place[2].parent / "score.py"
    path.write_text(f"import numpy as np\n{body}")
    return f"{path}:score"


def test_the_users_own_metric_is_kept(place: Place) -> None:
    model, calib, out = place
    reference = outputs(NETWORK, x=X)["y"].argmax(axis=1)
    np.save(out.parent / "labels.npy", reference)
    metric = scores(
        place,
        f"X = np.load({str(calib)!r})['x']\n"
        f"LABELS = np.load({str(out.parent / 'labels.npy')!r})\n"
        "def score(session):\n"
        "    print('scoring')\n"
        "    return float((session.run({'x': X})['y'].argmax(axis=1) == LABELS).mean())\n",
    )
    report = build(place, "--max-drop", "10%", "--eval", metric, *FEW)
    assert report["goal"] == {"max_drop": "10%"}
    with_labels = outputs_of(out / "model.onnx")
    assert (with_labels.argmax(axis=1) == reference).mean() >= 0.9
    assert report["macs"]["after"] < 0.9 * report["macs"]["before"]
    shown = words(edgecc("explain", out).stdout)
    reached, tried = report["search"]["reached"], len(report["search"]["trials"])
    assert f"networks tried: {tried}; the smallest that was good enough keeps 0." in shown
    assert f"metric {reached['metric']:.6g}, was 1" in shown
    assert "macs asked" in shown
    assert shown.count("accepted") + shown.count("refused") >= tried
    result = edgecc("build", model, "--max-drop", "5%", "--macs", "0.15", "--eval", metric,
                    "--calib", calib, "--out", f"{out}2", *FEW)  # fmt: skip
    assert result.exit_code == 6, result.stderr
    assert "--macs 0.15 cannot be met within the loss allowed" in result.stderr
    assert "hint: --macs 0." in result.stderr
    assert not Path(f"{out}2").exists()


def test_a_metric_that_says_the_same_of_every_network_is_named(place: Place) -> None:
    model, calib, out = place
    metric = scores(place, "def score(session):\n    return 0.5\n")
    result = edgecc("build", model, "--max-drop", "1%", "--eval", metric, "--calib", calib,
                    "--out", out, *FEW)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "note: the metric was the same for every network tried" in words(result.stderr)


def outputs_of(model: Path) -> np.ndarray:
    import onnx

    return outputs(onnx.load(model), x=X)["y"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def score(session):\n    raise OSError('no data')\n", "line 3: OSError: no data"),
        ("def score(session):\n    return float('nan')\n", "returned nan"),
        ("def score(session):\n    return None\n", "returned None, not a number"),
        ("def scores(session):\n    return 1.0\n", "did you mean scores?"),
        ("import edgecc_nowhere\n", "No module named 'edgecc_nowhere'"),
        ("def score(session):\n    return -3.0\n", "a drop of 1% means nothing for a metric of -3"),
    ],
)
def test_a_metric_that_cannot_be_had(place: Place, body: str, told: str) -> None:
    model, calib, out = place
    metric = scores(place, body)
    before = sorted(out.parent.iterdir())
    result = edgecc("build", model, "--max-drop", "1%", "--eval", metric, "--calib", calib,
                    "--out", out, *FEW)  # fmt: skip
    assert result.exit_code == 2, result.stderr
    assert told in words(result.stderr)
    assert [path for path in sorted(out.parent.iterdir()) if path.name != "__pycache__"] == before


NAN, CONSTANT = X.copy(), np.full_like(X, 0.5)
NAN[3, 0, 0, 0] = np.nan
BAD = {
    "nan": {"x": NAN},
    "constant": {"x": CONSTANT},
    "the same": {"x": np.repeat(X[:1], 8, axis=0)},
    "wide": {"x": samples(8, 5)},
    "small": {"x": X[:, :, :8]},
    "named": {"image": X, "other": X},
    "text": {"x": np.array(["a", "b"])},
    "none": {"x": X[:0]},
}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--macs", "0.5", "--passes", "basis"], 2, "--passes and a budget exclude each other"),
        (["--macs", "0.5", "--plan", "plan.json"], 2, "--plan and a budget exclude each other"),
        (["--macs", "0.5", "--families", "bassis"], 2, "did you mean basis?"),
        (["--macs", "0.5", "--families", "fold_pad"], 2, "fold_pad rewrites no convolutions"),
        (["--macs", "0.5", "--families", ","], 2, "no families are left to choose from"),
        (["--macs", "0.5", "--keep", "Conv_q"], 2, "did you mean Conv_"),
        (["--macs", "half"], 2, "the budget for macs is 'half', not a number"),
        (["--macs", "1.2"], 2, "not above 0 and at most 1"),
        (["--max-drop", "1%"], 2, "--max-drop and --eval belong together"),
        (["--relu-aware"], 2, "give --calib"),
        (["--keep", "Conv_a"], 2, "give a budget as well"),
        (["--prices", "prices.json"], 2, "give a budget as well, as --latency"),
        (["--image-scale", "0.5"], 2, "and there are no samples"),
        (["--passes", "basis", "--image-channels", "BGR"], 2, "and there are no samples"),
        (["--samples", "9"], 2, "--samples says how many are taken, and there are no samples"),
        (["--macs", "0.5", "--calib", "absent"], 2, "there is nothing at absent"),
        (["--macs", "0.5", "--calib", "net.onnx"], 2, "net.onnx is no .npz file"),
        (["--macs", "0.5", "--calib", "nan.npz"], 2, "NaN or infinite, the first in sample 3"),
        (["--macs", "0.5", "--calib", "constant.npz"], 2, "says nothing of what the network sees"),
        (["--macs", "0.5", "--calib", "the same.npz"], 2, "all 8 samples are the same"),
        (["--macs", "0.5", "--calib", "wide.npz"], 2, "it takes Nx4x10x10"),
        (["--macs", "0.5", "--calib", "small.npz"], 2, "it takes Nx4x10x10"),
        (
            ["--macs", "0.5", "--calib", "named.npz"],
            2,
            "no array for the input 'x'; it has image, other",
        ),
        (["--macs", "0.5", "--calib", "text.npz"], 2, "holds <U1, not numbers"),
        (["--macs", "0.5", "--calib", "none.npz"], 2, "0x4x10x10: no samples"),
        (
            ["--passes", "basis(rank=2)", "--calib", "nan.npz"],
            2,
            "NaN or infinite, the first in sample 3",
        ),
        (["--macs", "0.001", "--families", "basis"], 6, "comes down to --macs 0.001"),
    ],
)
def test_orders_that_cannot_be_followed(
    place: Place, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    model, _, out = place
    monkeypatch.chdir(out.parent)
    for name in BAD.keys() & {argument.removesuffix(".npz") for argument in arguments}:
        np.savez(f"{name}.npz", **BAD[name])
    before = sorted(out.parent.iterdir())
    result = edgecc("build", model, *arguments, "--out", out)
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert told in words(result.stderr)
    assert "Traceback" not in result.stderr
    assert "internal error" not in result.stderr
    assert "hint:" in result.stderr
    assert sorted(out.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--macs", "0.5", "--prices", "absent.json"], "cannot read the prices absent.json"),
        (["--max-drop", "1%", "--eval", "absent.py:f"], "there is no file absent.py"),
        (["--max-drop", "1%", "--eval", "score"], "names no function in a file"),
        (["--macs", "0.5", "--families", "basis", "--samples", "0"], "0 samples"),
    ],
)
def test_files_that_are_not_there(place: Place, arguments: list[str], told: str) -> None:
    result = edgecc("build", place[0], *arguments, "--out", place[2])
    assert result.exit_code == 2
    assert told in words(result.stderr)
    assert not place[2].exists()


def test_a_budget_that_cannot_be_met_is_json_too(place: Place) -> None:
    model, calib, out = place
    order = ("build", model, "--macs", "0.01", "--calib", calib, "--out", out)
    result = edgecc(*order, "--families", "basis", "--json")
    error = json.loads(result.stdout)["error"]
    assert (error["kind"], error["exit_code"], result.exit_code) == ("BudgetError", 6, 6)
    assert error["hint"].startswith("the nearest that can be reached is --macs 0.")


def test_the_nearest_budget_can_be_typed(place: Place) -> None:
    model, calib, out = place
    arguments = ("--calib", calib, "--out", out, "--families", "spatial_svd")
    result = edgecc("build", model, "--macs", "0.01", *arguments)
    assert result.exit_code == 6
    _, _, nearest = words(result.stderr).partition("hint: the nearest that can be reached is ")
    again = edgecc("build", model, *nearest.split(), *arguments)
    assert again.exit_code == 0, again.stderr


@pytest.mark.slow
def test_an_interrupted_plan_leaves_nothing(place: Place) -> None:
    model, calib, out = place
    code = "def score(session):\n    open('begun', 'w').close()\n    import time; time.sleep(60)\n"
    metric = scores(place, code)
    before = {path.name for path in out.parent.iterdir()}
    command = [sys.executable, "-m", "edgecc", "build", str(model), "--max-drop", "1%", *FEW]
    with subprocess.Popen(
        [*command, "--eval", metric, "--calib", str(calib), "--out", str(out)],
        cwd=out.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (out.parent / "begun").exists():
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "interrupted; nothing was left behind" in errors
    left = {path.name for path in out.parent.iterdir()} - before
    assert left <= {"begun", "__pycache__"}
