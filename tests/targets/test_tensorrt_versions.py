from __future__ import annotations

import pytest

from edgecc.errors import BuildError
from targets.tensorrt.versions import first_with, jetpacks, release


@pytest.mark.parametrize(
    ("text", "name", "opset"),
    [
        ("7.1.3", "7.1", 11),
        ("8.0.1.6-1+cuda10.2", "8.0", 13),
        ("8.2", "8.2", 13),
        ("8.4.1", "8.4", 17),
        ("8.5.2.2-1+cuda11.4", "8.5", 17),
        ("TensorRT 8.6.2", "8.6", 17),
        ("10.0.1", "10.0", 20),
        ("10.3.0.30-1+cuda12.5", "10.3", 20),
        ("rtx 1.7.1.116", "rtx 1.7", 24),
        ("TensorRT-RTX 1.7", "rtx 1.7", 24),
    ],
)
def test_a_version_as_packages_and_users_write_it(text: str, name: str, opset: int) -> None:
    found = release(text)
    assert (found.name, found.opset_max, found.note) == (name, opset, None)


@pytest.mark.parametrize(
    ("text", "opset", "table"),
    [("7.2.1", 11, "7.1"), ("9.3", 17, "8.6"), ("10.7.0", 20, "10.3"), ("12.0", 24, "10.15")],
)
def test_one_without_a_table_takes_the_nearest_older_one(text: str, opset: int, table: str) -> None:
    found = release(text)
    assert found.opset_max == opset
    assert f"{table}'s is taken" in (found.note or "")


@pytest.mark.parametrize("text", ["6.0.1", "5.1.6-1+cuda10.0", "7.0.0"])
def test_a_release_that_is_too_old_is_an_error(text: str) -> None:
    with pytest.raises(BuildError, match=r"too old: edgecc knows 7\.1 and newer") as caught:
        release(text)
    assert "JetPack" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "newest", "8", "v8502"])
def test_what_is_no_version_is_an_error(text: str) -> None:
    with pytest.raises(BuildError, match="is not a version of TensorRT"):
        release(text)


def test_names_and_order() -> None:
    assert str(release("8.5.2")) == "TensorRT 8.5"
    assert str(release("rtx 1.7")) == "TensorRT for RTX 1.7"
    assert release("rtx 1.0").rtx
    assert release("10.13").at_least(10, 3)
    assert not release("8.5").at_least(8, 6)
    assert {(7, 1), (8, 0), (8, 2), (8, 4), (8, 5), (8, 6), (10, 3)} <= set(jetpacks())


def test_the_jetpack_that_brings_a_release() -> None:
    assert first_with((8, 5)) == "TensorRT 8.5 (JetPack 5.1.x)"
    assert first_with((10, 1)) == "TensorRT 10.1 (JetPack 6.1 to 6.2 has 10.3)"
    assert first_with((10, 15)) == "TensorRT 10.15"
