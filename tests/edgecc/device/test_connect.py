from __future__ import annotations

from pathlib import Path

import pytest

from edgecc.device.connect import Device, connect, devices
from edgecc.device.local import Local
from edgecc.device.ssh import Ssh
from edgecc.errors import UsageError

TEXT = """
[xavier-1]
url = "ssh://nvidia@192.168.1.7:2222"
target = "xavier"
note = "under the desk"

[here]
url = "local"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "devices.toml"


def test_devices_have_names(file: Path) -> None:
    assert devices() == {}
    file.write_text(TEXT)
    assert devices()["here"] == Device(url="local")
    found = connect("xavier-1")
    assert isinstance(found, Ssh)
    assert (found.name, str(found.address)) == ("xavier-1", "ssh://nvidia@192.168.1.7:2222")
    assert isinstance(connect("here"), Local)
    assert isinstance(connect("local"), Local)
    assert connect("ssh://board").name == "ssh://board"


def test_the_users_own_file_is_taken_where_there_is_none_here(file: Path) -> None:
    (file.parent / "config/edgecc").mkdir(parents=True)
    (file.parent / "config/edgecc/devices.toml").write_text(TEXT)
    assert "xavier-1" in devices()
    file.write_text("")
    assert devices() == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("xavier1", "did you mean xavier-1?"),
        ("orin", "there are here, local, xavier-1"),
        ("nvidia@192.168.1.7", "did you mean ssh://nvidia@192.168.1.7?"),
    ],
)
def test_unknown_names_are_answered(file: Path, name: str, hint: str) -> None:
    file.write_text(TEXT)
    with pytest.raises(UsageError, match="there is no device named") as caught:
        connect(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\nurl = 'telnet://x'", "device a, url: it is neither local nor ssh://"),
        ("[a]\ntarget = 'xavier'", "device a, url: it is not there"),
        ("[a]\nurl = 'local'\nuser = 'me'", "device a, user: there is no such field"),
        ("a = 1", "device a: it is no table"),
        ("[a", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        devices()
