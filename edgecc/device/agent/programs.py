"""Programs that a session starts: in groups of their own, limited, known to the guard."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time

from edgecc.device.agent.events import SessionError

KEPT_BYTES = 1 << 20  # of what a program says
LOOK_S = 0.05


class Ended:
    """A program that ended: exit code (negative for a signal), what it said, its memory."""

    def __init__(self, code, output, errors, peak_rss_mb):
        self.code, self.output, self.errors = code, output, errors
        self.peak_rss_mb = peak_rss_mb

    @property
    def why(self):
        """Return the last thing it said, or how it ended."""
        said = [line for line in (self.errors or self.output).splitlines() if line.strip()]
        how = "signal {}".format(-self.code) if self.code < 0 else "exit code {}".format(self.code)
        return how + (": " + said[-1].strip()[:300] if said else "")


def run(guard, argv, folder, timeout_s, look=lambda: None):
    """Run a program in a folder to its end; `look` is called while it runs, and may raise.

    Raises SessionError where it cannot be started, and after `timeout_s`.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = None
        try:
            process = _start(argv, folder, output, errors)
            guard.started(process.pid)
            code, usage = _wait(process, time.monotonic() + timeout_s, look)
        finally:
            if process is not None:
                end_group(process)
                guard.ended(process.pid)
        if code is None:
            text = "{} was not done after {:.1f} s and was ended"
            raise SessionError(4, text.format(os.path.basename(argv[0]), timeout_s))
        return Ended(code, _text(output), _text(errors), usage.ru_maxrss / 1024.0)


def _start(argv, folder, output, errors):
    try:
        return subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    except OSError as error:
        text = "{} cannot be started: {}".format(argv[0], error.strerror)
        raise SessionError(4, text) from None


def _wait(process, ends, look):
    while time.monotonic() < ends:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = (
                -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            )
            return process.returncode, usage
        look()
        time.sleep(LOOK_S)
    return None, None


def end_group(process):
    """End a program and all that it started, if anything of it is left."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        process.wait()


def _text(stream):
    stream.seek(0)
    return stream.read(KEPT_BYTES).decode("utf-8", "replace")
