"""What LLVM and the linker are told, and what they say of wrong names and broken files."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from tvm_networks import HOST, build, classifier

from edgecc.errors import BuildError
from edgecc.target import Target
from targets.tvm.compile import write_library
from targets.tvm.frontend import to_relax
from targets.tvm.llvm_names import known_cores, known_features
from targets.tvm.toolchain import llvm_target, zig_cc

AARCH64 = "aarch64-linux-gnu"
BOARD = Target(
    name="board",
    title="t",
    arch="aarch64",
    cpu="cortex-a72",
    glibc="2.27",
    backend="tvm",
    backends=("tvm",),
    passes="",
)


def with_features(*features: str) -> Target:
    return BOARD.model_copy(update={"features": features})


def test_a_board_and_its_features_become_an_llvm_target() -> None:
    assert llvm_target(with_features("+dotprod", "-lse")) == {
        "kind": "llvm",
        "mtriple": AARCH64,
        "mcpu": "cortex-a72",
        "mattr": ["+dotprod", "-lse"],
    }


def test_a_core_that_llvm_does_not_know_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="knows no core 'cortexa72' for aarch64") as caught:
        llvm_target(BOARD.model_copy(update={"cpu": "cortexa72"}))
    known = known_cores(AARCH64)
    assert f"the nearest of {len(known)} are cortex-a72, " in (caught.value.hint or "")
    assert f"known_cores('{AARCH64}')" in (caught.value.hint or "")
    with pytest.raises(BuildError, match="knows no core 'pentium-9'"):
        build(classifier(), tmp_path, HOST.model_copy(update={"cpu": "pentium-9"}))


@pytest.mark.parametrize(
    ("feature", "message", "hint"),
    [
        ("+dotprodd", "knows no feature 'dotprodd' for aarch64", "are dotprod; all: python -c"),
        ("+qqqqqq", "knows no feature 'qqqqqq'", "it knows none near; all: python -c"),
        ("+avx2", "knows no feature 'avx2' for aarch64", "all: python -c"),
        ("dotprod", "'board' has 'dotprod', without a sign", "'+dotprod' is to have it"),
        ("", "'board' has '', without a sign", "to leave it out"),
    ],
)
def test_a_feature_that_llvm_does_not_know(feature: str, message: str, hint: str) -> None:
    with pytest.raises(BuildError, match=message) as caught:
        llvm_target(with_features(feature))
    assert hint in (caught.value.hint or "")


def test_a_feature_that_no_core_has_is_known() -> None:
    assert "reserve-x18" not in known_features(AARCH64)
    assert llvm_target(with_features("+reserve-x18"))["mattr"] == ["+reserve-x18"]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files of a failed command stay."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_failing_linker_shows_all_it_said_and_its_command(tmp_path: Path, kept: Path) -> None:
    work = tmp_path / "work"
    (work / "there").mkdir(parents=True)
    (work / "a.c").write_text("int f(void), g(void); int main(void) { return f() + g(); }")
    with pytest.raises(BuildError) as caught:
        zig_cc(BOARD, ["a.c", "-o", str(work / "there" / "a")], work)
    message, hint = caught.value.message, caught.value.hint or ""
    assert "zig cc -target aarch64-linux-gnu.2.27 ended with 1" in message
    assert "undefined symbol: f" in message
    assert "undefined symbol: g" in message
    (work / "a.c").unlink()  # as a build's own folder goes when it fails
    again = subprocess.run(
        hint.splitlines()[-1], shell=True, capture_output=True, text=True, check=False
    )
    assert again.returncode == 1
    assert "undefined symbol: g" in again.stderr


def test_a_library_that_cannot_be_written_is_a_build_error(tmp_path: Path, kept: Path) -> None:
    workspace = tmp_path / "objects"
    workspace.mkdir()
    with pytest.raises(BuildError, match="zig cc -target"):
        write_library(to_relax(classifier()), HOST, tmp_path / "no" / "model.so", workspace)
