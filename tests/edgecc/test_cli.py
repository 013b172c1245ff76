"""The command line as a user meets it: real processes, their two streams and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import conv_model, parse
from rich.console import Console

from edgecc.cli import console, lists

Save = Callable[..., Path]
VERBS = ("build", "inspect", "explain", "passes", "targets", "verify", "power")


def edgecc(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgecc", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb: str) -> None:
    result = edgecc(verb, "--help")
    assert result.returncode == 0
    assert "Examples" in result.stdout
    assert f"edgecc {verb}" in result.stdout
    assert "--json" in result.stdout


def test_help_documents_the_exit_codes() -> None:
    text = " ".join(edgecc("--help").stdout.split())
    assert "0 ok, 1 internal, 2 usage, 3 model, 4 device, 5 build" in text
    assert edgecc("--version").stdout.startswith("edgecc ")


def test_the_main_job_and_what_follows_it(save: Save, tmp_path: Path) -> None:
    model = save(conv_model(16, 8, (3, 3)), "net.onnx")
    built = edgecc("build", model, "--passes", "basis(rank=4)", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert "multiply-adds" in built.stdout
    assert "1 of 1 convolutions rewritten" in built.stdout
    assert "edgecc build net.onnx: prepare" in built.stderr
    folder = tmp_path / "net-host"
    explained = edgecc("explain", folder)
    assert "basis(rank=4)" in explained.stdout
    verified = edgecc("verify", folder, "--against", model)
    assert verified.returncode == 0, verified.stderr
    assert "6 files as built" in verified.stdout
    again = edgecc("build", model, "--plan", folder / "plan.json", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    first, second = (f / "model.onnx" for f in (folder, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_json_is_alone_on_stdout(save: Save, tmp_path: Path) -> None:
    model = save(conv_model(16, 8, (3, 3)))
    out = tmp_path / "out"
    built = json.loads(edgecc("build", model, "--json", "--out", out).stdout)
    assert built["folder"] == str(out)
    assert built["schema_version"] == 1
    assert json.loads(edgecc("inspect", model, "--json").stdout)["macs"] > 0
    assert json.loads(edgecc("explain", model, "--json").stdout)["decisions"]
    assert json.loads(edgecc("explain", out, "--json").stdout)["artifact"]
    assert json.loads(edgecc("verify", out, "--json").stdout)["lowered"]
    assert {p["name"] for p in json.loads(edgecc("passes", "--json").stdout)} >= {"dac", "basis"}
    assert json.loads(edgecc("passes", "dac", "--json").stdout)[0]["options"].keys() == {
        "rank",
        "energy",
        "at_most",
    }
    names = {t["name"] for t in json.loads(edgecc("targets", "--json").stdout)}
    assert names >= {
        "host",
        "rpi3",
        "rpi4",
        "rpi5",
        "xavier",
        "xavier-cpu",
        "graviton2",
        "graviton3",
    }


def test_a_board_is_shown_field_by_field() -> None:
    lines = [line.split(maxsplit=1) for line in edgecc("targets", "rpi4").stdout.splitlines()]
    shown = dict(line for line in lines if len(line) == 2)
    assert shown["backends"] == "tvm, onnxruntime"
    assert (shown["core.lanes"], shown["peaks.efficiency.dense"]) == ("4", "0.65")


@pytest.mark.parametrize("name", [(), ("xavier",)])
def test_boards_fit_a_narrow_terminal(
    name: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    narrow = Console(file=screen, width=80, highlight=False, markup=False)
    monkeypatch.setattr(lists, "stdout", lambda: narrow)
    lists.targets(*name)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    starts = [line.split()[0] for line in lines if line.strip() and not line.startswith(" ")]
    assert "capability" not in starts
    assert "p2888-0006," not in starts


def test_modes_rails_and_releases_of_a_board_are_tables() -> None:
    shown = edgecc("targets", "xavier").stdout
    assert re.search(r"TensorRT +opset +JetPack", shown)
    assert re.search(r"8\.5\.2 +17 +5\.1\.x +11\.4 +3\.8 +2\.31 +35", shown)
    assert re.search(r"1 +MODE_10W +2 +1200 +520 +550 +1066 +takes a reboot", shown)
    assert re.search(r"GPU +the GPU +152 +yes", shown)
    assert re.search(r"gmacs_per_s +5640 +705 +11280", shown)
    fed = edgecc("targets", "nano-cpu").stdout
    assert re.search(r"POM_5V_GPU +the GPU +40 *\n", fed)
    told = json.loads(edgecc("targets", "xavier", "--json").stdout)[0]
    assert told["jetpacks"][0]["tensorrt"] == "8.5.2"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["build", "MODEL", "--passes", "dca(rank=2)"], 2, "did you mean dac?"),
        (["build", "MODEL", "--passes", "dac(ranks=2)"], 2, "its options are rank, energy"),
        (["build", "MODEL", "--target", "rpi44"], 2, "did you mean rpi4?"),
        (["build", "MODEL", "--shape", "x:1,8"], 2, "does not fit the model"),
        (["build", "MODEL", "--shape", "q:1,8,11,11"], 2, "no input 'q'"),
        (["build", "MODEL", "--plan", "absent.json"], 2, "cannot read the plan"),
        (["build", "MODEL", "--no-such-option"], 2, "no-such-option"),
        (["build", "MODEL", "--no-winograd"], 2, "leave --no-winograd away"),
        (["build"], 2, "model"),
        (["build", "absent.onnx"], 3, "No such file"),
        (["inspect", "EMPTY"], 3, "is no ONNX model"),
        (["explain", "EMPTY"], 3, "is no ONNX model"),
        (["verify", "absent"], 3, "there is no bundle"),
        (["passes", "dca"], 2, "did you mean dac?"),
        (["targets", "rpi6"], 2, "did you mean"),
    ],
)
def test_failures(save: Save, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "empty.onnx").touch()
    places = {
        "MODEL": str(save(conv_model(16, 8, (3, 3)))),
        "EMPTY": str(tmp_path / "empty.onnx"),
    }
    before = sorted(tmp_path.iterdir())
    result = edgecc(*[places.get(a, a) for a in arguments], cwd=tmp_path)
    assert result.returncode == code
    assert words.lower() in " ".join(result.stderr.split()).lower()
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_an_error_is_json_too(tmp_path: Path) -> None:
    result = edgecc("inspect", tmp_path / "absent.onnx", "--json")
    assert result.returncode == 3
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == "ModelError"
    assert error["exit_code"] == 3


def test_a_missing_target_backend_is_a_build_failure(save: Save, tmp_path: Path) -> None:
    pool = "AveragePool <kernel_shape=[2], dilations=[2]>"
    text = f"g (float[1,1,4] x) => (float[1,1,2] y) {{ y = {pool} (x) }}"
    model = save(parse(text, opset=20))
    result = edgecc("build", model, "--target", "xavier", cwd=tmp_path)
    assert result.returncode == 5
    assert "reads opset 17 at most; this model needs 20 (node 'AveragePool_y'" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing(
    save: Save, tmp_path: Path, number: signal.Signals
) -> None:
    model = save(conv_model(64, 64, (3, 3), size=400, pads=(1, 1, 1, 1)))
    # In the background a shell has SIGINT ignored, and children would too.
    listen = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    start = listen + "runpy.run_module('edgecc', run_name='__main__')"
    command = [sys.executable, "-c", start, "build", str(model), "--passes", "dac"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list(tmp_path.glob(".*.partial/*")):
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_an_interrupt_that_a_library_swallowed_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TVM does so while it compiles; the next stage must not begin."""
    monkeypatch.setattr(console.Interruption, "seen", True)
    stages = console.StageProgress("edgecc build", ("lower", "bundle"))
    with stages as progress, pytest.raises(KeyboardInterrupt):
        progress("bundle")


def test_a_reader_that_leaves_is_no_error() -> None:
    pipe = subprocess.run(
        f"{sys.executable} -m edgecc passes | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in pipe.stderr
    assert "BrokenPipe" not in pipe.stderr


def test_no_colour_where_nobody_watches(save: Save) -> None:
    result = edgecc("inspect", save(conv_model(16, 8, (3, 3))))
    assert "\x1b[" not in result.stdout + result.stderr


def test_starting_is_quick() -> None:
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    result = subprocess.run(
        [sys.executable, "-c", "import edgecc, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert not {"numpy", "onnx", "onnxruntime", "tvm", "torch"} & set(result.stdout.split())
