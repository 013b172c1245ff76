"""The Dockerfiles: what they hold to, and their steps carried out in a chroot."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import conv_model
from image import Image, make_root, missing, steps

import edgecc

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
EXAMPLE = ROOT / "examples" / "fashion_mnist" / "fashion_mnist.onnx"
NAMES = ("host", "arm", "jetson")

needs_root = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arm64") / "root"
    make_root(root, "arm64")
    return root


def copied(root: Path, name: str) -> Image:
    """A root of its own for one image."""
    place = root.with_name(name)
    subprocess.run(["cp", "-a", root, place], check=True)
    return Image(place, ROOT)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_pinned_and_its_user_is_not_root(name: str) -> None:
    found = steps(DOCKER / f"{name}.Dockerfile")
    (word, base), *rest = found
    assert word == "FROM"
    assert re.search(r":(r?\d+\.\d+\.\d+)(-\w+)*$", base)
    words = [word for word, _ in rest]
    assert words[-3:] == ["USER", "WORKDIR", "ENTRYPOINT"]
    assert ("USER", "edgecc") in rest
    for word, text in rest:
        if word == "RUN" and "pip install" in text:
            assert "-c " in text
            assert "--no-cache-dir" in text
        if word == "RUN" and "apt-get install" in text:
            assert "--no-install-recommends" in text
            assert "rm -rf /var/lib/apt/lists/*" in text
        if word == "COPY":
            assert all((ROOT / source).exists() for source in text.split()[:-1])


def test_what_is_pinned_is_what_edgecc_asks_for() -> None:
    text = (DOCKER / "constraints.txt").read_text()
    pinned = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    project = (ROOT / "pyproject.toml").read_text()
    asked = re.search(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)
    assert asked is not None
    names = {re.split(r"[<>=;]", line)[0] for line in re.findall(r'"([^"]+)"', asked[1])}
    assert names - pinned == {"tomli"}  # Python 3.11 has it
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in text.splitlines()[1:])


@pytest.mark.slow
@needs_root
def test_the_host_image_builds_a_bundle(tmp_path: Path) -> None:
    make_root(tmp_path / "root", "amd64")
    image = Image(tmp_path / "root", ROOT).build(DOCKER / "host.Dockerfile")
    assert image.skipped == []
    place = image.root / "work"
    shutil.copy(EXAMPLE, place / "model.onnx")
    place.chmod(0o777)  # as a user's own folder is to -u
    assert image.run("-u", entry=["id"]).strip() != "0"
    told = json.loads(image.run("build", "model.onnx", "--target", "rpi4", "--json"))
    assert told["artifact"]["backend"] == "tvm"
    assert (place / "model-rpi4" / "tvm" / "model.so").read_bytes()[18:20] == b"\xb7\x00"  # AArch64


@pytest.mark.slow
@needs_root
def test_the_arm_image_runs_a_bundle(arm64: Path, tmp_path: Path) -> None:
    image = copied(arm64, "arm").build(DOCKER / "arm.Dockerfile")
    assert image.skipped == []
    model = conv_model(4, 3, (3, 3))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    built = edgecc.build(
        tmp_path / "model.onnx", "rpi4", backend="onnxruntime", passes="", out=tmp_path / "bundle"
    )
    place = image.root / "bundle"
    shutil.copytree(built.folder, place, dirs_exist_ok=True)
    place.chmod(0o777)
    x = np.random.default_rng(0).standard_normal((1, 3, 11, 11)).astype(np.float32)
    np.save(place / "x.npy", x)
    image.run("onnxruntime/run.py", "model.onnx", "-i", "x=x.npy", "-o", ".", entry=["python3"])
    with edgecc.open(built.folder) as session:
        expected = session.run({"x": x})["y"]
    assert np.abs(np.load(place / "y.npy") - expected).max() < 1e-5


@pytest.mark.slow
@needs_root
def test_the_jetson_image_starts_the_agent_of_a_bundle(arm64: Path) -> None:
    from edgecc.device import pack

    image = copied(arm64, "jetson").build(DOCKER / "jetson.Dockerfile")
    assert [text.split()[-1] for text in image.skipped] == ["/var/lib/apt/lists/*"]
    pack.write(image.root / "bundle" / "edgecc-device")
    groups = image.run("-nG", entry=["id"]).split()
    assert groups == ["edgecc", "video"]
    told = json.loads(image.run("identify"))
    assert (told["machine"], told["root"], told["soc"]) == ("aarch64", False, None)
