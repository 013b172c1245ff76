"""A device without Python 3: what a POSIX shell can still tell and run there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from edgecc.device.transport import QUICK_S, Transport
from edgecc.errors import DeviceError

NO_PYTHON = (
    "this device has no Python 3.6 or later: latency alone is measured, and no clock is pinned"
)
IDENTIFY = r"""
R=${EDGECC_SYSROOT:-}
say() { [ -z "$2" ] || printf '%s=%s\n' "$1" "$2"; }
say machine "$(uname -m)"
say hostname "$(uname -n)"
say kernel "$(uname -r)"
say model "$(tr -d '\000' < "$R/proc/device-tree/model" 2>/dev/null)"
say compatible "$(tr '\000' ' ' < "$R/proc/device-tree/compatible" 2>/dev/null)"
say l4t "$(sed -n '1s/^# R\([0-9]*\) (release), REVISION: \([0-9.]*\),.*/\1.\2/p' \
  "$R/etc/nv_tegra_release" 2>/dev/null)"
say boot_id "$(cat "$R/proc/sys/kernel/random/boot_id" 2>/dev/null)"
say memory_kb "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' "$R/proc/meminfo" 2>/dev/null)"
say user "$(id -u)"
sed -n 's/^processor[^:]*: */cpu=/p; s/^CPU implementer[^:]*: */implementer=/p
s/^CPU part[^:]*: */part=/p' "$R/proc/cpuinfo" 2>/dev/null
:
"""
FIND_PYTHON = r"""
for p in python3 /usr/bin/python3 /usr/local/bin/python3; do
  "$p" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null &&
    command -v "$p" && exit
done
:
"""


def find_python(transport: Transport) -> str | None:
    """Return the path of a Python 3.6 or later on the device, None where there is none."""
    if transport.python is not None:
        return transport.python
    found = transport.run(["sh", "-c", FIND_PYTHON], timeout_s=QUICK_S).stdout.strip()
    return found or None


def identify(transport: Transport) -> dict[str, Any]:
    """Return what a shell can tell of the device, as the agent's `identify` would.

    What it cannot tell is absent, and `python` is None.
    """
    found: dict[str, Any] = {"schema_version": 1, "python": None, "compatible": [], "cpus": []}
    for line in transport.run(["sh", "-c", IDENTIFY], timeout_s=QUICK_S).stdout.splitlines():
        key, _, value = line.partition("=")
        if key == "cpu":
            found["cpus"].append({"cpu": int(value), "part": None, "implementer": None})
        elif key in ("part", "implementer") and found["cpus"]:
            found["cpus"][-1][key] = value
        elif key == "compatible":
            found["compatible"] = value.split()
        elif key == "memory_kb":
            found["memory_mb"] = int(value) // 1024
        elif key == "user":
            found["root"] = value == "0"
        else:
            found[key] = value
    chips = [n for n in found["compatible"] if n.startswith("nvidia,tegra")]
    last = (chips or found["compatible"] or [","])[-1]
    return {"model": None, "l4t": None, **found, "soc": last.partition(",")[2] or None}


def measure(transport: Transport, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a session that times bundles of TVM: those with a runner in C.

    Errors: `DeviceError` for another bundle, and where a run fails.
    """
    identity = identify(transport)
    yield {"event": "start", "schema_version": 1, "agent_sha256": None, "job": job, "t_s": 0.0}
    yield {"event": "identity", "identity": identity}
    yield {"event": "note", "text": NO_PYTHON}
    seconds = float(job.get("latency", {}).get("seconds", 10.0))
    words = {label: _words(transport, path, job) for label, path in job["bundles"].items()}
    for number in range(int(job.get("rounds", 4))):
        for label, path in sorted(job["bundles"].items()):
            yield from _latency(transport, path, words[label], seconds, (label, number))
    yield {"event": "end", "ok": True, "restored": True, "t_s": 0.0}


def _words(transport: Transport, folder: str, job: dict[str, Any]) -> list[str]:
    text = transport.run(["cat", f"{folder}/device.json"], timeout_s=QUICK_S).stdout
    try:
        device = json.loads(text)
        words = shlex.split(device["run"])
        names = [tensor["name"] for tensor in device["inputs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"{transport.name}: {folder} is no bundle: {error}") from None
    given = job.get("inputs") or {}
    if words[0] == "python3" or device.get("backend") != "tvm":
        raise DeviceError(
            f"{transport.name} has no Python 3.6, and {folder} cannot be measured without",
            hint="sudo apt-get install python3-minimal",
        )
    missing = [name for name in names if name not in given]
    if missing:
        raise DeviceError(
            f"{transport.name} has no Python 3.6 to make up an input: {', '.join(missing)}",
            hint="name a file of the device for each input",
        )
    threads = ["--threads", str(job["threads"])] if job.get("threads") else []
    inputs = [word for name in names for word in ("-i", f"{name}={given[name]}")]
    return [f"./{words[0]}", *inputs, *threads]


def _latency(
    transport: Transport, folder: str, words: list[str], seconds: float, turn: tuple[str, int]
) -> Iterator[dict[str, Any]]:
    text = (
        'cd "$1" && shift && t=$(mktemp -d) && "$@" -o "$t/out" --times "$t/times" && '
        'cat "$t/times"; code=$?; rm -rf "$t"; exit $code'
    )
    argv = ["sh", "-c", text, "sh", folder, *words, "--for", f"{seconds:g}", "--warmup", "3"]
    out = transport.run(argv, timeout_s=10 * seconds + 120).stdout
    report, _, times = out.partition("\n")
    label, number = turn
    try:
        told = json.loads(report)
        times_ms = [float(line) for line in times.split()]
        stamps = {"start_s": float(told["start_s"]), "end_s": float(told["end_s"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"{transport.name}: the runner of {folder} failed: {error}") from None
    at = {"bundle": label, "round": number}
    yield {"event": "phase", "name": "latency", **at, **stamps, "runs": len(times_ms)}
    yield {"event": "times", "kind": "latency", **at, "times_ms": times_ms, "runner": "tvm"}
