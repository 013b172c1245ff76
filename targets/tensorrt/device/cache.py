"""The engines of this board, each under the hash of all that it depends on.

    ~/.cache/edgecc/engines/<key>/{model.plan, record.json, layers.json}
    ~/.cache/edgecc/engines/timing/<board>-<TensorRT>.cache
    ~/.cache/edgecc/engines/lock

An entry is written beside and renamed: it is there whole, or not at all. A record holds the hash
of its plan: one that was damaged since is found, put aside and built again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time

PLAN, RECORD, LAYERS = "model.plan", "record.json", "layers.json"
_NEW = ".new-"


def home(environ=os.environ):
    """Return the folder of the engines."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(
        environ.get("HOME") or os.path.expanduser("~"), ".cache"
    )
    return os.path.join(base, "edgecc", "engines")


def key(facts):
    """Return the key of an engine that depends on `facts`, plain data."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256(path):
    """Return the hash of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def find(place, name):
    """Return (path of the plan, record) of an engine whose file is whole, else None."""
    folder = os.path.join(place, name)
    plan = os.path.join(folder, PLAN)
    try:
        with open(os.path.join(folder, RECORD), encoding="utf-8") as stream:
            record = json.load(stream)
        whole = record["plan_sha256"] == sha256(plan)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole:
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(folder)
    return plan, record


def new_folder(place):
    """Return an empty folder to build an entry in; `sweep` removes it if that never ends."""
    folder = os.path.join(place, "{}{}".format(_NEW, os.getpid()))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def write_json(path, data):
    """Write `data` beside `path`, then rename."""
    beside = "{}.{}".format(path, os.getpid())
    with open(beside, "w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(beside, path)


def store(place, name, folder, record):
    """Make `folder`, with a plan in it, the entry `name`; return (path of the plan, record)."""
    record = dict(record, key=name, plan_sha256=sha256(os.path.join(folder, PLAN)))
    record["size_bytes"] = os.path.getsize(os.path.join(folder, PLAN))
    write_json(os.path.join(folder, RECORD), record)
    target = os.path.join(place, name)
    if os.path.isdir(target):  # damaged, or asked to be built anew
        os.rename(target, os.path.join(place, "{}old-{}".format(_NEW, os.getpid())))
    os.rename(folder, target)
    sweep(place)
    return os.path.join(target, PLAN), record


def sweep(place):
    """Remove what builds that never ended left; only with the lock held."""
    for name in os.listdir(place):
        if name.startswith(_NEW):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)


@contextlib.contextmanager
def locked(place, tell, limit_s):
    """Hold the cache against other builds: two at once would time each other's kernels.

    `tell` is called once where another build is waited for. Errors: `TimeoutError`.
    """
    os.makedirs(place, exist_ok=True)
    end = time.monotonic() + limit_s
    with open(os.path.join(place, "lock"), "a+") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                stream.seek(0)
                if tell is not None:
                    tell("waiting for the build of process {}".format(stream.read().strip()))
                    tell = None
                if time.monotonic() > end:
                    raise TimeoutError("another build holds the cache")
                time.sleep(0.2)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        sweep(place)
        yield


def timing_cache(place, board, version):
    """Return the path of the timing cache of a board (in words) and a TensorRT."""
    name = re.sub(r"[^A-Za-z0-9.]+", "_", "{}-{}".format(board, version))
    return os.path.join(place, "timing", name + ".cache")


def listing(place):
    """Return the entries, the most recently used first: their records, with `used_unix_s`.

    One without a record that can be read is {"key", "damaged": True, "used_unix_s": 0}.
    """
    found = []
    for name in os.listdir(place) if os.path.isdir(place) else []:
        if not re.match(r"[0-9a-f]{64}$", name):
            continue
        try:
            with open(os.path.join(place, name, RECORD), encoding="utf-8") as stream:
                record = dict(
                    json.load(stream), used_unix_s=os.path.getmtime(os.path.join(place, name))
                )
        except (OSError, ValueError, TypeError):
            record = {"damaged": True, "used_unix_s": 0}
        found.append(dict(record, key=name))
    return sorted(found, key=lambda record: -record["used_unix_s"])


def gc(place, keep_mb):
    """Remove damaged entries, and the engines used longest ago until at most `keep_mb` are left.

    Returns the records of what was removed. Only with the lock held.
    """
    removed, size = [], 0
    for record in listing(place):
        size += record.get("size_bytes", 0)
        if record.get("damaged") or size > keep_mb * 1e6:
            shutil.rmtree(os.path.join(place, record["key"]), ignore_errors=True)
            removed.append(record)
    return removed
