"""trtexec's `--exportTimes`: one row a query, its keys and its quirks by version."""

import json

from targets.tensorrt.device.errors import BUILD, BoardError
from targets.tensorrt.device.version import numbers

_OLD = {"h2dMs": "inMs", "d2hMs": "outMs"}


def read(text, version, warmup_s):
    """Return the timed queries, in order: {"latency_ms", "compute_ms", "h2d_ms", "d2h_ms",
    "start_ms", "end_ms"}, the last two on trtexec's own clock.

    Before 8.5 the file has the warm-up too; it is left out, by trtexec's own rule: a query counts
    when its computing starts after the warm-up. In 7.x the keys `..In..` have the values of
    `..Enq..`, and those of `..In..` are under `..Enq..`. Errors: `BoardError` where it is not what
    trtexec writes.
    """
    try:
        rows = json.loads(text)
        found = [_row(row, numbers(version) < (8,)) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise BoardError(
            BUILD,
            "the times that trtexec {} wrote cannot be read: {}".format(version, error),
            "the raw log tells how it ended; a full disk cuts such files short",
        )
    if numbers(version) < (8, 5):
        found = [row for row in found if row.pop("compute_start_ms") >= warmup_s * 1000.0]
    else:
        for row in found:
            del row["compute_start_ms"]
    if not found:
        raise BoardError(
            BUILD,
            "trtexec timed no query after the warm-up of {:g} s".format(warmup_s),
            "measure for longer, or with a shorter warm-up",
        )
    return found


def _row(row, swapped):
    start = "startEnqMs" if swapped else "startH2dMs"  # of the inputs' copy, the first thing done
    end = "endOutMs" if swapped else "endD2hMs"
    return {
        "latency_ms": float(row["latencyMs"]),
        "compute_ms": float(row["computeMs"]),
        "h2d_ms": float(row[_OLD["h2dMs"] if swapped else "h2dMs"]),
        "d2h_ms": float(row[_OLD["d2hMs"] if swapped else "d2hMs"]),
        "start_ms": float(row[start]),
        "end_ms": float(row[end]),
        "compute_start_ms": float(row["startComputeMs"]),
    }
