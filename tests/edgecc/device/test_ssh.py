"""Real ssh to a real sshd: what goes well, and every way in which it does not."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from jetson.sshd import Sshd

from edgecc.device.ssh import Address, Ssh
from edgecc.errors import DeviceError, UsageError


def test_commands_run_there_with_their_words_as_they_are(ssh: Ssh, sshd: Sshd) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "'", "", "ü\n"]
    assert ssh.run(words, timeout_s=10).stdout == "a b|$HOME|'||ü\n|"
    assert ssh.run(["cat"], timeout_s=10, stdin=b"\0\xff").stdout == "\0�"
    assert ssh.home() == str(sshd.home)
    done = ssh.run(["sh", "-c", "echo why >&2; exit 3"], timeout_s=10, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "why\n")
    with pytest.raises(DeviceError, match=r"exit code 3: why$"):
        ssh.run(["sh", "-c", "echo why >&2; exit 3"], timeout_s=10)
    with pytest.raises(DeviceError, match="exit code 255: mine"):  # not a lost link
        ssh.run(["sh", "-c", "echo mine >&2; exit 255"], timeout_s=10)


def test_one_connection_is_shared_and_left(sshd: Sshd) -> None:
    with Ssh(sshd.url, config=sshd.config) as transport:
        for _ in range(5):
            transport.run(["true"], timeout_s=10)
        log = (sshd.folder / "sshd.log").read_text()
        assert log.count("Accepted publickey") == 1
    ends = time.monotonic() + 5
    while sshd.sessions() and time.monotonic() < ends:
        time.sleep(0.02)
    assert not sshd.sessions()


def test_a_command_that_takes_too_long_is_ended(ssh: Ssh) -> None:
    with pytest.raises(DeviceError, match=r"`sleep 60` failed: not done after 0.2 s"):
        ssh.run(["sleep", "60"], timeout_s=0.2)


def test_a_host_key_that_was_never_accepted(ssh: Ssh, sshd: Sshd) -> None:
    sshd.known_hosts.write_text("")
    with pytest.raises(DeviceError, match="is not known yet: its ED25519 host key") as caught:
        ssh.run(["true"], timeout_s=10)
    assert f"ssh -F {sshd.config} -p {sshd.port} 127.0.0.1" in (caught.value.hint or "")
    assert sshd.known_hosts.read_text() == ""


def test_a_host_key_that_is_another(ssh: Ssh, sshd: Sshd) -> None:
    sshd.make_key("host_key")
    sshd.stop()
    sshd.start()
    before = sshd.known_hosts.read_text()
    with pytest.raises(DeviceError, match="has another host key than before") as caught:
        ssh.run(["true"], timeout_s=10)
    hint = caught.value.hint or ""
    assert "ssh-keygen -f" in hint
    assert str(sshd.known_hosts) in hint
    assert f"[127.0.0.1]:{sshd.port}" in hint
    assert sshd.known_hosts.read_text() == before


def test_checking_cannot_be_switched_off(ssh: Ssh, sshd: Sshd) -> None:
    sshd.configure("Host *\n  StrictHostKeyChecking no\n")
    sshd.known_hosts.write_text("")
    with pytest.raises(DeviceError, match="is not known yet"):
        ssh.run(["true"], timeout_s=10)


def test_a_password_is_not_asked_for(ssh: Ssh, sshd: Sshd) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    sshd.settings["PasswordAuthentication"] = "yes"
    sshd.stop()
    sshd.start()
    with pytest.raises(DeviceError, match="asks for a password") as caught:
        ssh.run(["true"], timeout_s=10)
    assert f"ssh-copy-id -F {sshd.config} -p {sshd.port} 127.0.0.1" in (caught.value.hint or "")


def test_no_key_fits(ssh: Ssh, sshd: Sshd) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(DeviceError, match="accepts none of your keys") as caught:
        ssh.run(["true"], timeout_s=10)
    assert "IdentityFile" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ssh://127.0.0.1:1", "Connection refused"),
        ("ssh://there-is.invalid", "Could not resolve hostname"),
    ],
)
def test_nobody_answers(sshd: Sshd, url: str, said: str) -> None:
    transport = Ssh(url, config=sshd.config)
    with pytest.raises(DeviceError, match=f"cannot be reached: .*{said}"):
        transport.run(["true"], timeout_s=10)


def test_a_jump_host_of_the_users_configuration(sshd: Sshd) -> None:
    at = f"  HostName 127.0.0.1\n  Port {sshd.port}\n"
    sshd.configure(f"Host Jump\n{at}\nHost Xavier-1\n{at}  ProxyJump Jump\n")
    with Ssh("ssh://Xavier-1", config=sshd.config) as transport:
        assert transport.run(["echo", "there"], timeout_s=10).stdout == "there\n"
    log = (sshd.folder / "sshd.log").read_text()
    assert log.count("Accepted publickey") == 2


def test_lines_come_as_they_are_written(ssh: Ssh) -> None:
    text = "for i in 1 2 3; do echo $i; sleep 0.1; done; printf torn; echo why >&2; exit 3"
    with ssh.stream(["sh", "-c", text], timeout_s=10, stall_s=5) as stream:
        came = [(line, time.monotonic()) for line in stream]
        assert (stream.returncode, stream.stderr) == (3, "why\n")
    assert [line for line, _ in came] == ["1", "2", "3", "torn"]
    assert came[2][1] - came[0][1] > 0.15


def test_a_stream_that_stalls_is_an_error_and_what_ran_there_ends(ssh: Ssh, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; echo one; exec sleep 60"
    with ssh.stream(["sh", "-c", script], timeout_s=10, stall_s=0.3) as stream:
        lines = iter(stream)
        assert next(lines) == "one"
        with pytest.raises(DeviceError, match=r"failed: silent for 0.3 s"):
            next(lines)
    assert_ends(int((tmp_path / "pid").read_text()))


def test_a_stream_whose_link_is_cut(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; while sleep 0.05; do echo on; done"
    with ssh.stream(["sh", "-c", script], timeout_s=10, stall_s=5) as stream:
        lines = iter(stream)
        assert [next(lines) for _ in range(3)] == ["on"] * 3
        sshd.cut()
        with pytest.raises(DeviceError, match="the link was lost"):
            list(lines)
    assert_ends(int((tmp_path / "pid").read_text()))


def test_after_a_cut_it_connects_again(ssh: Ssh, sshd: Sshd) -> None:
    ssh.run(["true"], timeout_s=10)
    sshd.cut()
    ends = time.monotonic() + 5
    while sshd.sessions() and time.monotonic() < ends:
        time.sleep(0.02)
    with contextlib.suppress(DeviceError):  # ssh may notice only now
        ssh.run(["true"], timeout_s=10)
    assert ssh.run(["echo", "back"], timeout_s=10).stdout == "back\n"


@pytest.mark.slow
def test_a_link_that_is_dead_and_not_cut(ssh: Ssh, sshd: Sshd) -> None:
    """As when a device loses its power: nothing answers, and nothing says so."""
    begin = time.monotonic()
    text = "while sleep 0.1; do echo on; done"
    with ssh.stream(["sh", "-c", text], timeout_s=60, stall_s=50) as stream:
        lines = iter(stream)
        assert next(lines) == "on"
        stopped = sshd.sessions()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(DeviceError, match="the link was lost"):
                list(lines)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - begin < 40


def assert_ends(pid: int) -> None:
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError(f"{pid} still runs")


def test_a_broken_push_goes_on_where_it_broke_off(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    part = sshd.home / f"there/file.{hashlib.sha256(data).hexdigest()[:16]}.part"
    part.parent.mkdir()
    part.write_bytes(data[:200_000])
    os.utime(part, (1, 1))
    seen = part.stat().st_ino
    ssh.push(tmp_path / "file", "there/file")
    assert (sshd.home / "there/file").read_bytes() == data
    assert (sshd.home / "there/file").stat().st_ino == seen
    assert [path.name for path in part.parent.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_push_that_is_cut_goes_on(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(1 << 20) * 200)
    place = sshd.home / "there"

    def cut() -> None:
        while sum(path.stat().st_size for path in place.glob("*.part")) < 1 << 20:
            time.sleep(0.001)
        sshd.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(DeviceError, match="the link was lost"):
        ssh.push(tmp_path / "file", "there/file")
    cutter.join()
    (part,) = place.glob("*.part")
    assert 1 << 20 <= part.stat().st_size < 200 << 20
    kept = part.stat().st_ino
    with contextlib.suppress(DeviceError):
        ssh.run(["true"], timeout_s=10)
    ssh.push(tmp_path / "file", "there/file")
    assert filecmp.cmp(tmp_path / "file", place / "file", shallow=False)
    assert (place / "file").stat().st_ino == kept


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ssh://Board", Address("Board")),
        ("ssh://me@Board:2222", Address("Board", "me", 2222)),
        ("ssh://[fe80::1]:22", Address("fe80::1", None, 22)),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert Address.parse(url) == address
    assert str(address) == url


@pytest.mark.parametrize(
    "url", ["ssh://", "http://x", "ssh://x:port", "ssh://x/folder", "ssh://-oProxyCommand=x"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Address.parse(url)


def test_passwords_do_not_stand_in_addresses() -> None:
    with pytest.raises(UsageError, match="holds a password") as caught:
        Address.parse("ssh://me:secret@board")
    assert "secret" not in str(caught.value)
