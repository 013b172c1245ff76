"""A process that outlives the session, however that ends, and puts everything back if it must.

It waits on a pipe that only the session holds open. A session that ends in order says `done`; the
end of the pipe without it is a session that was killed, and then what it had started is ended too.
"""

import contextlib
import os
import signal

from edgecc.device.agent import journal


class Guard:
    """The session's side of the pipe."""

    def __init__(self):
        read, self._write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._write)
            try:
                _wait(read)
            finally:
                os._exit(0)
        os.close(read)

    def started(self, group):
        """A group of processes runs from now on."""
        self._say("+{}".format(group))

    def ended(self, group):
        """That group is gone."""
        self._say("-{}".format(group))

    def done(self):
        """The session ended and everything is as it was."""
        self._say("done")
        os.close(self._write)
        os.waitpid(self._pid, 0)

    def _say(self, line):
        # without its guard the session goes on: the journal is there for the next one
        with contextlib.suppress(OSError):
            os.write(self._write, line.encode() + b"\n")


def _wait(read):
    """Be the guard."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # an open output would keep an ssh session from ending
        os.dup2(nothing, stream)
    groups, text = set(), b""
    while True:
        chunk = os.read(read, 4096)
        if not chunk:
            break
        lines = (text + chunk).split(b"\n")
        text = lines.pop()
        for line in lines:
            if line == b"done":
                return
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    journal.restore_left()
