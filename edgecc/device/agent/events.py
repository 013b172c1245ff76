"""The events of a session: lines of JSON to the host, and into a record on the device."""

import errno
import json
import os
import select
import signal
import stat
import threading

PATIENCE_S = 60.0
"""For how long the other end may take nothing."""
REASONS = []
"""Why this process sent itself a signal."""


class SessionError(Exception):
    """A session that ends with an exit code: 4 device, 5 build, 7 not to be trusted."""

    def __init__(self, code, message, hint=None):
        super(SessionError, self).__init__(message)
        self.code, self.message, self.hint = code, message, hint

    def to_json(self):
        """Return it as the fields of an error event."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


def host_is_gone():
    """End the session: SIGTERM to this process, with the reason in `REASONS`."""
    REASONS.append("the link to the host was lost")
    os.kill(os.getpid(), signal.SIGTERM)


class Events:
    """Where events go: a file descriptor or None, a record, and `tell`, which takes each.

    A lost host ends the session; a full disk does not.
    """

    def __init__(self, output, record=None, tell=lambda event: None):
        self._tell = tell
        self._output, self._lock = output, threading.RLock()
        self._record = None
        kind = 0 if output is None else os.fstat(output).st_mode
        self._patient = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)
        if self._patient:
            os.set_blocking(output, False)
        if record:
            self._open(record)

    def _open(self, path):
        try:
            folder = os.path.dirname(os.path.abspath(path))
            if not os.path.isdir(folder):
                os.makedirs(folder)
            self._record = open(path, "ab", 0)  # noqa: SIM115  (closed by close)
        except OSError as error:
            self.note("no record is kept on the device: {}: {}".format(path, error.strerror))

    def emit(self, event, **fields):
        """Tell an event; safe from every thread."""
        told = dict(fields, event=event)
        data = json.dumps(told, sort_keys=True, allow_nan=False).encode() + b"\n"
        with self._lock:
            self._keep(data)
            self._send(data)
            self._tell(told)

    def note(self, text):
        """Tell what a reader should know."""
        self.emit("note", text=text)

    def _keep(self, data):
        if self._record is None:
            return
        try:
            while data:
                data = data[self._record.write(data) :]
        except OSError as error:
            self._record.close()
            self._record = None
            self.note("the record on the device ends here: {}".format(error.strerror))

    def _send(self, data):
        if self._output is None:
            return
        try:
            while data:
                if self._patient and not select.select([], [self._output], [], PATIENCE_S)[1]:
                    raise OSError(errno.ETIMEDOUT, "nothing was taken")
                try:
                    data = data[os.write(self._output, data) :]
                except BlockingIOError:
                    continue
        except OSError:
            self._output = None
            host_is_gone()

    def close(self):
        """End the record."""
        with self._lock:
            if self._record is not None:
                self._record.close()
                self._record = None
