from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgecc.errors import DeviceError, UsageError
from edgecc.planning.evaluate import Evaluation
from edgecc.target import Session, TensorSpec, checked_inputs

Write = Callable[[str], Path]


class Doubling(Session):
    inputs = (TensorSpec("x", "float32", (2,)),)
    outputs = (TensorSpec("y", "float32", (2,)),)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"y": 2 * checked_inputs(self.inputs, inputs)["x"]}


class Gone(Doubling):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        raise DeviceError("the board does not answer")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(text: str, name: str = "score.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return file


def score(path: Path, name: str = "score", session: Session | None = None) -> float:
    return Evaluation.read(f"{path}:{name}").score(session or Doubling())


def test_a_function_scores_a_network(write: Write, tmp_path: Path) -> None:
    (tmp_path / "edgecc_neighbour.py").write_text("WANTED = 6\n")
    path = write(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from edgecc_neighbour import WANTED\n"
        "@dataclass\n"
        "class Sum:\n"
        "    total: float\n"
        "def score(session):\n"
        "    from edgecc_neighbour import WANTED as late\n"
        "    name, = [spec.name for spec in session.inputs]\n"
        "    return Sum(session.run({name: [1, 2]})['y'].sum() / WANTED).total\n"
    )
    before = list(sys.path)
    evaluation = Evaluation.read(f"{path}:score")
    assert str(evaluation) == "score.py:score"
    assert evaluation.score(Doubling()) == evaluation.score(Doubling()) == 1.0
    assert sys.path == before
    del sys.modules["edgecc_neighbour"]


def test_what_is_printed_goes_to_stderr(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(
        "import os, sys\nkept = sys.stdout\nprint('loading')\n"
        "def score(session):\n"
        "    print('scoring')\n    os.write(1, b'from C\\n')\n    print('kept', file=kept)\n"
        "    return 1\n"
    )
    assert score(path) == 1.0
    print("after")
    out, err = capfd.readouterr()
    assert out == "after\n"
    assert {"loading", "scoring", "from C", "kept"} <= set(err.splitlines())


@pytest.mark.parametrize("text", ["score.py", "score.py:", ":score", "score.py:to p", "", "score"])
def test_texts_that_name_no_function(text: str) -> None:
    with pytest.raises(UsageError, match="names no function in a file"):
        Evaluation.read(text)


def test_files_and_functions_that_are_not_there(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*absent\.py"):
        Evaluation.read(f"{tmp_path}/absent.py:score")
    path = write("from math import sqrt\nscores = 3\ndef accuracy(session): return 1\n")
    for name in ("acuracy", "scores"):
        with pytest.raises(UsageError, match=f"has no function '{name}'") as caught:
            Evaluation.read(f"{path}:{name}")
        assert "accuracy" in str(caught.value.hint)
        assert "sqrt" not in str(caught.value.hint)
    text = path.rename(tmp_path / "score.txt")
    with pytest.raises(UsageError, match="is no Python file"):
        Evaluation.read(f"{text}:accuracy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import edgecc_nowhere\n",
            "line 1: ModuleNotFoundError: No module named 'edgecc_nowhere'",
        ),
        ("x = 1\ndef score(:\n", "line 2: SyntaxError: "),
        ("x = 1\n\nassert x == 2, 'no\\n  data'\n", "line 3: AssertionError: no data"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
    ],
)
def test_files_that_cannot_be_imported(write: Write, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"score\.py: cannot be imported, " + message) as caught:
        score(write(text))
    assert caught.value.hint == "EDGECC_TRACEBACK=1 prints the whole traceback"


def test_functions_that_fail(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        "import numpy\n"
        "def score(session):\n"
        "    return numpy.zeros(3).reshape(2)\n"
        "def wrong(session):\n"
        "    return session.run({'z': [1, 2]})\n"
        "def fine(session):\n"
        "    return session.run({'x': [1, 2]})\n"
    )
    with pytest.raises(UsageError, match=r"score\.py: score failed, line 3: ValueError: cannot"):
        score(path)
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("EDGECC_TRACEBACK", "1")
    with pytest.raises(UsageError):
        score(path)
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(UsageError, match="wrong failed, line 5: input 'x' is missing") as caught:
        score(path, "wrong")
    assert caught.value.hint == "it takes x: float32 2"
    with pytest.raises(DeviceError, match="does not answer"):
        score(path, "fine", Gone())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "returned None, not a number"),
        ("True", "returned a bool, not"),
        ("'0.9'", "returned a str, not"),
        ("numpy.zeros((2, 3))", r"returned a ndarray of shape \(2, 3\), not"),
        ("float('nan')", "returned nan"),
        ("numpy.float32('inf')", "returned inf"),
    ],
)
def test_what_is_no_finite_number(write: Write, returned: str, message: str) -> None:
    path = write(f"import numpy\ndef score(session): return {returned}\n")
    with pytest.raises(UsageError, match=r"score\.py:score " + message):
        score(path)


@pytest.mark.parametrize("returned", ["1", "numpy.float32(1)", "numpy.int64(1)", "1.0"])
def test_numbers_of_every_kind(write: Write, returned: str) -> None:
    assert score(write(f"import numpy\ndef score(session): return {returned}\n")) == 1.0


def test_an_interruption_stays_one(write: Write) -> None:
    path = write("def score(session): raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        score(path)


def test_stdout_may_be_a_pipe(write: Write) -> None:
    path = write("print('noise')\ndef score(session): print('more'); return 0.5\n")
    code = (
        "from edgecc.planning.evaluate import Evaluation\n"
        f"print('before'); print(Evaluation.read('{path}:score').score(None))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "before\n0.5\n"
    assert done.stderr == "noise\nmore\n"
