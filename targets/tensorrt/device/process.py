"""trtexec as a process: its lines as they come, a time limit, and no child left behind."""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time

from targets.tensorrt.device.errors import DEVICE, BoardError

HEAD, MOST = 5000, 30000
"""Lines of a log that are kept: its first, and in all."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of linux/prctl.h


class Done:
    """How a program ended: `returncode`, `text` (its whole output), `seconds`, `timed_out`."""

    def __init__(self, returncode, text, seconds, timed_out):
        self.returncode = returncode
        self.text = text
        self.seconds = seconds
        self.timed_out = timed_out


def run(argv, limit_s, on_line=lambda line, at_s: None, tick_s=1.0):
    """Run `argv` and return how it ended; whatever ends us ends it, with all its children.

    `on_line` is called with each line and the monotonic second that it came at, and with None
    where `tick_s` pass without one. Errors: `BoardError` where it cannot be started.
    """
    libc = ctypes.CDLL(None)
    begin = time.monotonic()
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0),
        )
    except OSError as error:
        raise BoardError(
            DEVICE,
            "{} cannot be started: {}".format(argv[0], error.strerror),
            "is it the trtexec of this board? see edgecc-device identify",
        )
    lines = []
    try:
        ended = _read(child.stdout, lines, begin + limit_s, on_line, tick_s)
        if ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=30)
    finally:
        _end(child)
        child.stdout.close()
    return Done(child.returncode, "".join(lines), time.monotonic() - begin, not ended)


def _read(stream, lines, until_s, on_line, tick_s):
    """Collect the lines of `stream`; return whether it ended before `until_s`."""
    rest = b""
    while True:
        left_s = max(0.0, until_s - time.monotonic())
        ready, _, _ = select.select([stream], [], [], min(tick_s, left_s))
        now = time.monotonic()
        if now >= until_s:
            return False
        if not ready:
            on_line(None, now)
            continue
        block = os.read(stream.fileno(), 1 << 16)
        whole = (rest + block).split(b"\n")
        rest = whole.pop()
        if not block and rest:
            whole.append(rest)
        for line in whole:
            text = line.decode("utf-8", "replace")
            lines.append(text + "\n")
            on_line(text, now)
        if len(lines) > MOST:
            del lines[HEAD : HEAD + len(lines) - MOST]
        if not block:
            return True


def _end(child):
    """End the child's whole group, if any of it is left."""
    for name in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, name)
        except (ProcessLookupError, PermissionError):
            break
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            continue
    child.wait()
