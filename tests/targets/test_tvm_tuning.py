"""Tiles that are measured on the device: here on this machine, behind a real RPC server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from command_line import edgecc as command
from onnx import helper
from tvm_networks import HOST, build, by_onnxruntime, error, given, network, normal

import edgecc
from edgecc import job
from edgecc.errors import DeviceError, UsageError
from edgecc.target import Artifact
from targets.tvm import TvmBackend
from targets.tvm.core import core_of
from targets.tvm.frontend import to_relax
from targets.tvm.lower import lower
from targets.tvm.options import Options
from targets.tvm.schedules.choose import scheduled
from targets.tvm.toolchain import llvm_target
from targets.tvm.tuning import search, wish
from targets.tvm.tuning.address import Address
from targets.tvm.tuning.process import LostError, Tuner
from targets.tvm.tuning.records import Database, Record
from targets.tvm.tuning.space import Choice, own_choice, with_choice
from targets.tvm.tuning.tasks import tasks_of
from targets.tvm.tuning.wish import Wish

RPI4 = HOST.model_copy(update={"name": "rpi4", "arch": "aarch64", "cpu": "cortex-a72"})
DEVICE = "board: a core, 1 threads, TVM 0"


def two_layers() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["y"]),
    ]
    weights = {"w0": normal(16, 3, 3, 3), "b0": normal(16), "w1": normal(32, 16, 1, 1)}
    return network(17, nodes, weights, (1, 3, 16, 16))


def every_kind() -> onnx.ModelProto:
    """A convolution for each schedule: dense, Winograd, a pair, a pool."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Conv", ["c0", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Conv", ["c1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=64),
        node("Conv", ["c2", "w3"], ["c3"]),
        node("MaxPool", ["c3"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    weights = {
        "w0": normal(64, 3, 3, 3), "w1": normal(64, 64, 3, 3),
        "w2": normal(256, 1, 3, 3), "w3": normal(32, 256, 1, 1),
    }  # fmt: skip
    return network(17, nodes, weights, (1, 3, 32, 32))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is measured, apart from what zig keeps in the user's cache."""
    monkeypatch.setattr(wish, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "tuning"


def tuned(tune: str, folder: Path, model: onnx.ModelProto, rpc: str | None = None) -> Artifact:
    backend = TvmBackend().with_tuning(HOST, tune, rpc, lambda text: None)
    return build(model, folder, backend=backend)


def fused(model: onnx.ModelProto) -> Any:
    """The functions of a network before they are scheduled."""
    import tvm

    kept: list[Any] = []

    def keep(module: Any) -> Any:
        kept.append(tvm.IRModule(dict(module.functions)))
        return module

    lower(to_relax(model), core_of(HOST), tvm.target.Target(llvm_target(HOST)), Options(tuned=keep))
    return kept[0]


def records(cache: Path) -> list[dict[str, Any]]:
    (file,) = cache.rglob("records.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def no_tuner(*_: object) -> None:
    raise AssertionError("something is measured")


class FakeTuner:
    """Measures what `answers` say, without a device; an exception is raised."""

    answers: list[Any]
    device = {"host": "board", "cpu": "a core", "threads": "1", "tvm": "0"}  # noqa: RUF012

    def __init__(self, *_: object) -> None:
        if self.answers and self.answers[0] == "gone":
            raise DeviceError("nobody is there")

    def measure(self, function: str, choice: Choice) -> dict[str, Any]:
        answer = self.answers.pop(0) if self.answers else {"us": 2.0, "own_us": 2.0}
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeTuner]:
    monkeypatch.setattr(search, "Tuner", FakeTuner)
    FakeTuner.answers = []
    return FakeTuner


def local(trials: int) -> Wish:
    return Wish(trials, Address(None), None, lambda text: None)


def test_choices_are_what_the_schedules_take(tmp_path: Path) -> None:
    core = core_of(HOST)
    tasks = {task.key: task for task in tasks_of(fused(every_kind()), core).values()}
    assert len(tasks) >= 4
    for task in tasks.values():
        own = own_choice(task.function, core)
        assert own is not None
        assert own not in task.others
        assert len(task.others) == len(set(task.others))
        database = Database(tmp_path / "records.jsonl", {})
        for _ in range(3):
            choice = task.untried(database)
            assert choice is not None
            changed = with_choice(task.function, core, choice)
            assert own_choice(changed, core) == choice
            assert scheduled(changed, core) is not None
            database.add(Record(task.key, choice, DEVICE, failed="no device"))


def test_a_network_is_tuned_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, told = two_layers(), []
    backend = TvmBackend().with_tuning(HOST, "3", None, told.append)
    first = build(model, tmp_path / "a", backend=backend)
    assert told[-1].startswith("tuning, 3 of 3 trials, 2 of 2 functions begun")
    assert first.details["tuning"]["trials"] == 3
    assert first.details["tuning"]["failed"] == 0
    (device,) = first.details["tuning"]["devices"]
    assert device.endswith("TVM 0.27.0.post1")
    assert "tvm/tuning.jsonl" in first.files
    header, *lines = records(cache)
    assert header["target"] == "host"
    assert len(lines) == 3
    with TvmBackend().open(tmp_path / "a", first) as session:
        (wanted,) = by_onnxruntime(model, given(model))
        assert error(wanted, session.run(given(model))["y"]) < 1e-5
    monkeypatch.setattr(search, "Tuner", no_tuner)
    shipped = str(tmp_path / "a" / "tvm" / "tuning.jsonl")
    for number, tune in enumerate(("3", "2", "0", shipped)):
        again = tuned(tune, tmp_path / str(number), model)
        assert again == first
        for name in first.files:
            assert (tmp_path / "a" / name).read_bytes() == (
                tmp_path / str(number) / name
            ).read_bytes(), name


def test_a_faster_choice_is_taken(tmp_path: Path, cache: Path, fake: type[FakeTuner]) -> None:
    model = two_layers()
    fake.answers = [{"us": 1.0, "own_us": 2.0}, {"us": 1.96, "own_us": 2.0}]
    artifact = tuned("2", tmp_path / "tuned", model)
    assert artifact.details["tuning"] == {
        "functions": 2,
        "tuned": 1,
        "trials": 2,
        "failed": 0,
        "predicted_ratio": 0.75,
        "devices": [DEVICE],
    }
    plain = build(model, tmp_path / "plain")
    library = "tvm/model.so"
    assert (tmp_path / "tuned" / library).read_bytes() != (
        tmp_path / "plain" / library
    ).read_bytes()
    assert "tuning" not in plain.details
    with TvmBackend().open(tmp_path / "tuned", artifact) as session:
        (wanted,) = by_onnxruntime(model, given(model))
        assert error(wanted, session.run(given(model))["y"]) < 1e-5


def test_what_crashes_is_kept_as_failed(tmp_path: Path, cache: Path, fake: type[FakeTuner]) -> None:
    fake.answers = [LostError("signal SIGSEGV"), {"failed": "no schedule"}]
    artifact = tuned("4", tmp_path / "net", two_layers())
    assert artifact.details["tuning"]["failed"] == 2
    assert [line.get("failed") for line in records(cache)[1:]] == [
        "signal SIGSEGV",
        "no schedule",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        ([{"us": 1.0, "own_us": 2.0}, LostError("silent"), "gone"], 1),
        ([LostError("silent")] * 3, 2),
    ],
)
def test_a_device_that_is_lost_ends_the_tuning_and_not_the_build(
    tmp_path: Path, cache: Path, fake: type[FakeTuner], answers: list[Any], kept: int
) -> None:
    fake.answers = list(answers)
    artifact = tuned("9", tmp_path / "net", two_layers())
    assert len(records(cache)) == 1 + kept
    assert artifact.details["notes"][-1] == (
        f"tuning ended early, after {kept} of 9 trials: the device crashed or is gone (silent)"
    )


def test_a_tuner_that_is_killed_leaves_what_it_measured(tmp_path: Path) -> None:
    onnx.save(two_layers(), tmp_path / "net.onnx")
    zig = os.environ.get("ZIG_GLOBAL_CACHE_DIR") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zig"
    )
    words = [sys.executable, "-m", "edgecc", "build", "net.onnx", "--backend", "tvm"]
    process = subprocess.Popen(
        [*words, "--passes", "", "--out", "out", "--tune", "500"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XDG_CACHE_HOME": str(tmp_path),
            "ZIG_GLOBAL_CACHE_DIR": zig,
        },
        stderr=subprocess.DEVNULL,
    )
    file = tmp_path / "nothing"
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        file = next((tmp_path / "edgecc").rglob("records.jsonl"), file)
        if file.exists() and file.read_text().count("\n") >= 3:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = file.read_text().splitlines()
    database = Database.read(file, json.loads(lines[0]))
    assert sum(map(len, database.records.values())) >= 2
    assert database.notes == []
    assert not (tmp_path / "out").exists()


def a_database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "records.jsonl", {"target": "host", "tvm": "0"})
    database.add(Record("f", Choice((1, 1, 8), 4), DEVICE, 1.5, 2.0))
    database.add(Record("f", Choice((2, 1, 8), 4), DEVICE, failed="it crashed"))
    return database


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    with database.path.open("a") as file:
        for line in ('{"function": "f", "tile": [1], "chunk": 1}', "[]", "\x00", "{" * 9999, ""):
            file.write(line + "\n")
        file.write('{"function": "f", "tile": [4, 1, 8], "chu')  # killed in the middle of a line
    read = Database.read(database.path, database.made_for)
    assert read.records == database.records
    assert read.notes == [f"{database.path}: 5 damaged line(s) left out, the first is 4"]
    read.add(Record("f", Choice((4, 1, 8), 4), DEVICE, 1.0, 2.0))
    again = Database.read(database.path, database.made_for)
    assert again.records == read.records
    best = again.best("f")
    assert best is not None
    assert best.choice.tile == (4, 1, 8)


def test_a_little_faster_is_not_faster(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    database.add(Record("g", Choice((1, 1, 8), 4), DEVICE, 1.98, 2.0))
    assert database.best("g") is None
    assert database.best("no such function") is None


def test_what_cannot_be_kept_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = Database(tmp_path / "file" / "records.jsonl", {})
    for chunk in (1, 2):
        database.add(Record("f", Choice((1, 1, 1), chunk), DEVICE, 1.0, 2.0))
    assert len(database.of("f")) == 2
    assert len(database.notes) == 1
    assert "what is measured cannot be kept" in database.notes[0]


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """A server that is not TVM's: it says `answer`, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    if answer is not None:
                        connection.sendall(answer)
                    connection.recv(100)
                    connection.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_is_none_is_told_before_the_build_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    onnx.save(two_layers(), tmp_path / "net.onnx")
    words = ("build", tmp_path / "net.onnx", "--target", "rpi4", "--tune", "3", "--rpc")
    done = command(*words, closed)
    assert done.exit_code == DeviceError.exit_code
    assert f"no TVM RPC server at {closed}: Connection refused" in done.stderr
    assert "hint: start one on the device: python3 -m tvm.exec.rpc_server" in done.stderr
    with listening(b"SSH-2.0-OpenSSH_9.2\r\n") as address:
        done = command(*words, address)
    assert f"what answers at {address} is no TVM RPC server" in done.stderr
    with listening(None) as address, pytest.raises(DeviceError, match=r"no answer .* within 0.2 s"):
        Address.parse(address).check(0.2)


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("host", {"rpc": "local"}, "--rpc is where to tune"),
        ("rpi4", {"tune": 3}, "nothing says where rpi4 is"),
        ("rpi4", {"tune": 3, "rpc": "local"}, "rpi4 is aarch64"),
        ("host", {"tune": 3, "rpc": "192.168.1.7"}, "--rpc 192.168.1.7 is no address"),
        ("host", {"tune": 3, "rpc": "board:99999"}, "--rpc board:99999 is no address"),
        ("host", {"tune": "none.jsonl"}, "there is no none.jsonl to tune from"),
        (
            "host",
            {"tune": "x.jsonl", "rpc": "local"},
            "takes what was measured, and --rpc measures",
        ),
        ("host", {"tune": 3, "backend": "onnxruntime"}, "the backend onnxruntime has no tuning"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, target: str, options: dict[str, Any], told: str
) -> None:
    onnx.save(two_layers(), tmp_path / "net.onnx")
    asked = {"backend": "tvm", **options}
    with pytest.raises(UsageError, match=told):
        job.build(tmp_path / "net.onnx", target, out=tmp_path / "out", passes="", **asked)
    assert not (tmp_path / "out").exists()


def test_a_file_for_another_target_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tuning.jsonl"
    file.write_text(
        '{"target": "rpi4", "cpu": "cortex-a72", "tvm": "0.27.0.post1", "llvm": "22"}\n'
    )
    with pytest.raises(UsageError, match="was measured for target rpi4, this build is for target"):
        tuned(str(file), tmp_path / "net", two_layers())
    file.write_text("what is this\n")
    with pytest.raises(UsageError, match="holds no measured tiles"):
        tuned(str(file), tmp_path / "net", two_layers())


@contextlib.contextmanager
def rpc_server(tmp_path: Path) -> Iterator[str]:
    """`python -m tvm.exec.rpc_server`, as on a device."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1"]
    with (tmp_path / "server").open("w") as log:
        process = subprocess.Popen(
            [*words, "--port", str(port), "--port-end", str(port + 1)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_the_server_of_a_device(tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("cloudpickle", reason="tvm.exec.rpc_server needs it")
    onnx.save(two_layers(), tmp_path / "net.onnx")
    words = ["build", tmp_path / "net.onnx", "--backend", "tvm", "--passes", "", "--tune", "4"]
    with rpc_server(tmp_path) as address:
        done = command(*words, "--rpc", address, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.stderr
        assert "of 2 functions, with 4 tiles measured" in done.stderr
        assert len(records(cache)) == 5
        backend = TvmBackend().with_tuning(RPI4, "3", address, lambda text: None)
        with pytest.raises(DeviceError, match=r"is x86_64 \(.*\), rpi4 is aarch64"):
            build(two_layers(), tmp_path / "other", RPI4, backend)
    with edgecc.open(tmp_path / "out") as session:
        assert session.run({"x": normal(1, 3, 16, 16)})["y"].shape == (1, 32, 16, 16)


@pytest.mark.slow
def test_a_process_that_crashes_or_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tvm

    from targets.tvm.tuning import process

    (task, *_) = tasks_of(fused(two_layers()), core_of(HOST)).values()
    functions = tvm.IRModule({task.key: task.function})
    with Tuner(functions, HOST, Address(None)) as tuner:
        os.kill(tuner._process.pid, signal.SIGSEGV)
        with pytest.raises(LostError, match="its process ended with signal SIGSEGV"):
            tuner.measure(task.key, task.others[0])
    with Tuner(functions, HOST, Address(None)) as tuner:
        monkeypatch.setattr(process, "CANDIDATE_S", 0.2)
        os.kill(tuner._process.pid, signal.SIGSTOP)
        with pytest.raises(LostError, match=r"no answer within 0\.2 s"):
            tuner.measure(task.key, task.others[0])
