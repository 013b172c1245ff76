"""tegrastats, started anew for each window of time: its averages begin where the process does.

It is read through a terminal of its own, as it buffers what it writes into a pipe.
"""

import os
import pty
import re
import select
import signal
import subprocess
import time

# NAME now/average, in bare milliwatts (JetPack 4) or with mW; JetPack 7 adds a peak
RAIL = re.compile(
    r"(?<![\w@])([A-Z][A-Z0-9_]*) (-?\d+)(?:mW)?/(-?\d+)(?:mW)?(?:/(-?\d+)mW)?(?![\dM.k])"
)
STALL_S = 5.0
FIRST_LINE_S = 3.0


class Tegrastats:
    """A running tegrastats."""

    def __init__(self, tool, interval_ms):
        self.interval_s = interval_ms / 1000.0
        master, slave = pty.openpty()
        try:
            self.process = subprocess.Popen(
                [tool, "--interval", str(interval_ms)],
                stdin=subprocess.DEVNULL,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.pipe, self._rest, self._heard = master, b"", time.monotonic()

    @property
    def silent_s(self):
        """Return for how long it has said nothing."""
        return time.monotonic() - self._heard

    @property
    def is_stalled(self):
        """Return whether it has been silent for much longer than its interval."""
        return self.silent_s > max(STALL_S, 5 * self.interval_s)

    def lines(self, wait_s):
        """Return the whole lines of a time as (monotonic seconds, text); None at its end."""
        if not select.select([self.pipe], [], [], wait_s)[0]:
            return []
        try:
            chunk = os.read(self.pipe, 65536)
        except OSError:  # a terminal whose other side is closed
            chunk = b""
        if not chunk:
            return None
        self._heard = time.monotonic()
        parts = (self._rest + chunk).split(b"\n")
        self._rest = parts.pop()[-65536:]
        texts = [part.decode("utf-8", "replace").rstrip("\r") for part in parts]
        return [(self._heard, text) for text in texts if text.strip()]

    def stop(self):
        """End it and all that it started."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(1)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None


def rails_printed(tool):
    """Return the names of the rails in one line of tegrastats; none where it prints no power."""
    try:
        running = Tegrastats(tool, 100)
    except OSError:
        return []
    try:
        ends = time.monotonic() + FIRST_LINE_S
        while time.monotonic() < ends:
            lines = running.lines(0.2)
            if lines is None:
                return []
            if lines:
                return rails(lines[0][1])
    finally:
        running.stop()
    return []


def rails(line):
    """Return the names of the rails in a line of tegrastats."""
    tail = line.rpartition("]")[2] if "CPU [" in line else line
    return [name for name, _, _, _ in RAIL.findall(tail) if name not in ("RAM", "SWAP", "NC")]
