"""What a session changed, written down before it changes it, and how that is put back.

One session at a time: it holds a lock that its guard holds too, so that a lock that can be had and
a journal that is there mean a session that died.
"""

import errno
import fcntl
import json
import os
import stat
import time

from edgecc.device.agent import identify, modes, sysroot
from edgecc.device.agent.events import SessionError
from edgecc.device.agent.privilege import Privilege

FOLDER = "/var/tmp"
GUARD_S = 30.0
"""What the guard of a session that died has to put everything back."""


def path(suffix):
    """Return this user's file of that kind."""
    return sysroot.place("{}/edgecc-device-{}.{}".format(FOLDER, os.getuid(), suffix))


class Lock:
    """The one session of this user on this device."""

    def __init__(self):
        name = path("lock")
        try:
            if not os.path.isdir(os.path.dirname(name)):
                os.makedirs(os.path.dirname(name))
            self._file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SessionError(4, "{} cannot be written: {}".format(name, error.strerror)) from None

    def take(self):
        """Return whether the session is this one now."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def leave(self):
        """Let others have it; a process that was forked meanwhile still holds it."""
        os.close(self._file)


def begin():
    """Take the lock and put back what a dead session left; return lock and what that did.

    Raises SessionError where another session runs, or something could not be put back.
    """
    lock = Lock()
    ends = time.time() + GUARD_S
    while not lock.take():
        pid = (read() or {}).get("pid")
        if pid is None or _is_alive(pid) or time.time() > ends:
            who = "" if pid is None else " (process {})".format(pid)
            lock.leave()
            raise SessionError(
                4, "another session measures on this device" + who, "wait for it, or end it"
            )
        time.sleep(0.1)
    done = restore_left()
    if done and done["failed"]:
        lock.leave()
        raise SessionError(
            4,
            "an earlier session left this device changed: " + "; ".join(done["failed"]),
            "put it back by hand, then: edgecc-device restore --forget",
        )
    return lock, done


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # a dead process that nobody waited for yet is dead
    text = sysroot.read("/proc/{}/stat".format(pid)) or ""
    return text.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])


def read():
    """Return the journal that is there, or None; another user's is not believed."""
    try:
        file = os.open(path("journal.json"), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(stream.fileno())
        if status.st_uid != os.getuid() or not stat.S_ISREG(status.st_mode):
            return None
        try:
            found = json.loads(stream.read().decode("utf-8", "replace"))
        except ValueError:
            return None
    return found if isinstance(found, dict) else None


def restore_left():
    """Put back what a dead session left; return what was done, None where nothing was left."""
    left = read()
    return restore(left) if left is not None else None


def restore(journal, privilege=None):
    """Put back what a journal lists, and remove it where all of that is true again.

    After a boot only the power mode is as it was set: clocks begin anew.
    """
    privilege = privilege or Privilege()
    done, failed = [], []
    mode = journal.get("mode")
    if mode is not None and (modes.current() or {}).get("id") != mode:
        why = modes.change(mode, privilege)
        (failed if why else done).append(why or "power mode {}".format(mode))
    if journal.get("boot_id") == identify.boot_id():
        _restore_clocks(journal, privilege, done, failed)
    if not failed:
        _remove(journal, privilege)
    return {"restored": done, "failed": failed}


def _restore_clocks(journal, privilege, done, failed):
    store, tool = journal.get("jetson_clocks"), sysroot.tool("jetson_clocks")
    if store and tool and os.path.exists(store):
        code, text = privilege.ask([tool, "--restore", store])
        if code == 0:
            done.append("jetson_clocks")
        else:
            failed.append("jetson_clocks --restore: " + " ".join(text.split())[-200:])
    files = [(name, text) for name, text in journal.get("files", [])]
    # a lowest clock above the highest is refused: what was refused goes in at a later turn
    for _ in range(3):
        wrong = [(name, text) for name, text in files if sysroot.read(name) != text]
        for name, text in wrong:
            if privilege.write(name, text) is None and sysroot.read(name) == text:
                done.append("{} = {}".format(name, text))
    wrong = [(name, text) for name, text in files if sysroot.read(name) != text]
    failed.extend("{} is {}, was {}".format(name, sysroot.read(name), text) for name, text in wrong)


def _remove(journal, privilege):
    store = journal.get("jetson_clocks")
    if store and os.path.exists(store):
        privilege.ask(["rm", "-f", store])
    forget()


def forget():
    """Remove the journal."""
    try:
        os.unlink(path("journal.json"))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


class Journal:
    """This session's journal: `undo` is called before each change."""

    def __init__(self):
        self.entries = {
            "schema_version": 1,
            "pid": os.getpid(),
            "boot_id": identify.boot_id(),
            "time_unix_s": time.time(),
        }
        self._write()

    def undo(self, **entries):
        """Write down what a change that comes now has to be undone with."""
        self.entries.update(entries)
        self._write()

    def _write(self):
        name = path("journal.json")
        fresh = name + ".new"
        try:
            if os.path.lexists(fresh):
                os.unlink(fresh)
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(json.dumps(self.entries).encode())
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(fresh, name)
        except OSError as error:
            raise SessionError(
                4,
                "{} cannot be written, so nothing is changed: {}".format(name, error.strerror),
                "make room on the device's disk",
            ) from None
