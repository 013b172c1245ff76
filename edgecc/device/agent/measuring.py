"""`edgecc-device measure`: a job read, its session run to an end that is always told."""

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import time

from edgecc.device.agent import protocol, words
from edgecc.device.agent.events import REASONS, Events, SessionError, host_is_gone

INTERRUPTED = 130
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DEFAULTS = {
    "schema_version": 1,
    "rounds": 4,
    "order": None,
    "mode": None,
    "pin": True,
    "settle_s": 5.0,
    "warmup_s": 2.0,
    "latency": {"seconds": 10.0, "min_samples": 200, "max_samples": 20000},
    "idle_s": 10.0,
    "energy": {"seconds": 30.0},
    "profile": True,
    "threads": None,
    "sample_interval_ms": 500,
    "inputs": None,
    "shapes": None,
    "record": None,
    "limit_s": 3600.0,
}


class Interrupted(BaseException):
    """A signal, or the host that is gone."""


def measure(named, tied):
    """Run the session of the job, or the bundles, that are named; return the exit code."""
    try:
        job = read_job(named)
    except SessionError as fault:
        sys.stderr.write("edgecc-device: {}\n".format(fault.message))
        return fault.code
    # a person at a terminal reads the words; the record has it all
    output = None if sys.stdout.isatty() else sys.stdout.fileno()
    events = Events(output, job["record"], tell)
    events.emit(
        "start",
        schema_version=1,
        agent_sha256=own_sha256(),
        job=job,
        time_unix_s=time.time(),
        t_s=time.monotonic(),
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, interrupt)
    session = protocol.Session(job, events)
    code = INTERRUPTED
    try:
        code = attempt(session, events, tied)
    except Interrupted as interrupted:
        events.emit("error", code=INTERRUPTED, message=str(interrupted), hint=None)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        restored = session.close()
        events.emit("end", ok=code == 0, restored=restored, t_s=time.monotonic())
        events.close()
        say("the record: {}".format(job["record"]))
    return code


def tell(event):
    """Say an event to a person, on stderr."""
    text = words.words(event)
    if text:
        say(text)


def say(text):
    """Write a line to stderr, which may be gone."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def attempt(session, events, tied):
    """Run a session; tell what went wrong, and return the exit code."""
    try:
        session.begin()
        if tied:  # only now: the guard is a fork of a process without threads
            threading.Thread(target=watch_stdin, daemon=True).start()
        session.measure()
        return 0
    except SessionError as fault:
        events.emit("error", **fault.to_json())
        return fault.code
    except OSError as error:
        events.emit("error", code=4, message="the device failed: {}".format(error), hint=None)
        return 4


def interrupt(number, frame):
    """End the session: the handler of signals."""
    raise Interrupted(REASONS[0] if REASONS else "ended by " + signal.Signals(number).name)


def watch_stdin():
    """Wait until the host's side is gone; then end the session."""
    while os.read(0, 4096):
        pass
    host_is_gone()


def read_job(named):
    """Return the whole job that a file, stdin's first line, or bundles describe.

    Raises SessionError with the code of a wrong call.
    """
    if len(named) == 1 and not os.path.isdir(named[0]):
        try:
            text = first_line() if named[0] == "-" else read(named[0])
            given = json.loads(text)
            bundles = {str(name): str(path) for name, path in given["bundles"].items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            message = "{} is no job: {}".format(named[0], error)
            raise SessionError(2, message) from None
    else:
        given, bundles = {}, dict(zip(LABELS, named))
    wrong = sorted(set(given) - set(DEFAULTS) - {"bundles"})
    if wrong:
        raise SessionError(2, "a job has no field {}".format(", ".join(wrong)))
    if not bundles or len(named) > len(LABELS) or not all(len(name) == 1 for name in bundles):
        raise SessionError(2, "a job has bundles by names of one letter, and one at least")
    job = dict(DEFAULTS, **given)
    job["bundles"] = {name: os.path.abspath(path) for name, path in bundles.items()}
    job["latency"] = dict(DEFAULTS["latency"], **(given.get("latency") or {}))
    job["order"] = job["order"] or "".join(sorted(bundles))
    if not job["record"]:
        job["record"] = unused(os.path.join(job["bundles"][min(bundles)], "trace"))
    if os.path.exists(job["record"]):
        raise SessionError(2, "{} is there already".format(job["record"]), "name another record")
    return job


def unused(folder):
    """Return the path of a record that begins now."""
    stem = os.path.join(folder, time.strftime("record-%Y%m%d-%H%M%S"))
    path, number = stem + ".jsonl", 1
    while os.path.exists(path):
        number += 1
        path = "{}-{}.jsonl".format(stem, number)
    return path


def read(path):
    """Return the text of a file."""
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def first_line():
    """Return the first line of stdin, and nothing of what may follow."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode("utf-8", "replace")


def own_sha256():
    """Return the digest of the file that runs, None where it is no file of its own."""
    try:
        with open(sys.argv[0], "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except (OSError, IndexError):
        return None
