"""A bundle on a board, from the one file that lies in it: built, then measured."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jetson.board import Board
from jetson.standin import install
from tensorrt_board import old_python

from edgecc.device import pack

JOB = {
    "schema_version": 1,
    "rounds": 1,
    "order": "A",
    "mode": None,
    "pin": False,
    "settle_s": 0,
    "warmup_s": 0.1,
    "latency": {"seconds": 1, "min_samples": 20, "max_samples": 2000},
    "idle_s": 0.2,
    "energy": {"seconds": 1},
    "profile": True,
    "threads": None,
    "inputs": None,
    "record": None,
    "limit_s": 100,
}


@pytest.mark.slow
def test_build_and_measure(tmp_path: Path, bundle: Path) -> None:
    Board.make(tmp_path / "sys", "5.1")
    install(tmp_path / "sys", "8.5.2")
    pack.write(bundle / "edgecc-device")
    (tmp_path / "job.json").write_text(json.dumps({**JOB, "bundles": {"A": str(bundle)}}))
    environ = {**os.environ, "EDGECC_SYSROOT": str(tmp_path / "sys")}
    environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    environ.pop("PYTHONPATH", None)

    def events(*arguments: str) -> list[dict[str, Any]]:
        argv = [old_python(), str(bundle / "edgecc-device"), *arguments]
        done = subprocess.run(argv, env=environ, stdout=subprocess.PIPE, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert events("build")[-1]["event"] == "engine"
    assert len(events("build", "--list")[0]["engines"]) == 1
    told = events("measure", str(tmp_path / "job.json"))
    times = [event for event in told if event["event"] == "times"]
    assert [event["kind"] for event in times] == ["latency", "energy"]
    assert {event["runner"] for event in times} == {"trtexec 8.5.2"}
    assert times[0]["shapes"] == {"x": [1, 3, 16, 16]}
    layers = next(event["layers"] for event in told if event["event"] == "profile")
    assert [layer["name"] for layer in layers] == ["conv1 + act1", "conv2"]
    assert (told[-1]["event"], told[-1]["ok"]) == ("end", True)
