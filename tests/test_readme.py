"""Every command of the documents runs as it stands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgecc

ROOT = Path(__file__).resolve().parent.parent
INSIDE = "EDGECC_INSIDE_README_TEST"
IGNORED = shutil.ignore_patterns(".git", ".venv", "*_cache", "__pycache__", "*-host")


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [block for kind, block in found if kind == language]


def commands(document: str) -> list[str]:
    return [line for block in blocks(document, "sh") for line in block.splitlines() if line]


INSTALLING = [line for line in commands("README.md") if "venv" in line]
USING = [line for line in commands("README.md") if "venv" not in line]
EXAMPLES = commands("examples/README.md")
DOCS = ("docs/calibration.md", "docs/cpu.md", "docs/planning.md", "docs/power.md")
FILES = {"toml": "inputs.toml", "json": "prices.json"}
"""What a block of each language in the documents is called in their commands."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT, tmp_path / "edgecc", ignore=IGNORED))


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, **environment},
    )


def test_there_are_two_commands_for_a_fresh_machine() -> None:
    assert len(INSTALLING) == 2
    assert "edgecc build" in INSTALLING[0]
    assert "pytest" in INSTALLING[1]
    assert INSTALLING[1] in (ROOT / ".ci" / "run").read_text()


def test_the_commands_for_using_it(checkout: Path) -> None:
    if not arm_is_installed():
        pytest.skip("needs pip install 'edgecc[arm]'")
    assert USING
    (checkout / "classify.c").write_text(*blocks("README.md", "c"))
    printed = {}
    for line in USING:
        if line.startswith("cc ") and shutil.which("cc") is None:
            line = f"{sys.executable} -m ziglang {line}"
        result = shell(line, checkout, EDGECC_ASSETS="")
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        printed[line] = result.stdout
        if "--macs" in line:
            assert wording(result.stdout) == wording(blocks("README.md", "")[1])
    assert (checkout / "for-rpi4" / "tvm" / "model.so").is_file()
    models = [checkout / folder / "model.onnx" for folder in ("half", "again")]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert share_of_macs(checkout / "half") <= 0.5
    assert share_of_macs(checkout / "smallest") < 1
    black = {"image": np.zeros((1, 1, 28, 28), np.float32)}
    with edgecc.open(checkout / "for-here") as session:
        logits = session.run(black)["logits"]
    found = np.array(printed["./classify"].split(), np.float32)
    assert np.abs(found - logits.ravel()).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCS)
def test_the_commands_of_the_documents(checkout: Path, document: str) -> None:
    for language, file in FILES.items():
        for block in blocks(document, language):
            (checkout / file).write_text(block)
    for block in blocks(document, "python"):
        subprocess.run([sys.executable, "-c", block], cwd=checkout, check=True)
    assert commands(document)
    for line in commands(document):
        result = shell(line, checkout)
        assert result.returncode == 0, f"{line}\n{result.stderr}"


def test_every_rewrite_stands_in_the_readme() -> None:
    from edgecc import catalog

    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    every = {family.name for family in catalog.families()} | {"dac"}
    assert sorted(rows) == sorted(every)


def test_the_commands_of_the_example(checkout: Path) -> None:
    assert len(EXAMPLES) == 4
    for line in EXAMPLES:
        result = shell(line, checkout, EDGECC_ASSETS="")
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        assert "evaluate" not in line or "9 of 10 right" in result.stdout


@pytest.mark.parametrize("document", ["README.md", "examples/README.md"])
def test_the_python_of_the_documents(checkout: Path, document: str) -> None:
    (source,) = blocks(document, "python")
    result = subprocess.run(
        [sys.executable, "-c", source + "\nprint(logits.shape)"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "(1, 10)\n", result.stderr


@pytest.mark.slow
@pytest.mark.skipif(INSIDE in os.environ, reason="started by this very test")
@pytest.mark.parametrize("line", INSTALLING)
def test_the_two_commands_on_a_fresh_machine(checkout: Path, line: str) -> None:
    result = shell(line, checkout, **{INSIDE: "1"})
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    if "edgecc build" in line:
        shown, printed = words(blocks("README.md", "")[0]), words(result.stdout)
        assert printed == shown
        assert (checkout / "fashion_mnist-host" / "report.json").is_file()
    else:
        assert " passed" in result.stdout


def words(text: str) -> list[str]:
    """The words of a printed table, whatever its borders and widths."""
    return re.sub(r"[─-]{2,}", "", text).split()


def wording(text: str) -> list[str]:
    """The words without their numbers: a plan depends on the cores there are, and on rounding."""
    return [re.sub(r"[\d.]+", "#", word).replace("cores", "core") for word in words(text)]


def share_of_macs(bundle: Path) -> float:
    macs = json.loads((bundle / "report.json").read_text())["macs"]
    return float(macs["after"] / macs["before"])


def arm_is_installed() -> bool:
    try:
        import tvm  # noqa: F401
    except ImportError:
        return False
    return True
