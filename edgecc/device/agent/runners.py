"""The ways to run a bundle: the runners of TVM and onnxruntime, and TensorRT through its engine.

Each has `warm(seconds)`, `latency(job)`, `energy(seconds)` and `profile(seconds)`. A pass is a
dictionary: times_ms, start_s and end_s (monotonic, of the timed runs alone), runs, runner, and
where they are told compute_ms, shapes, peak_rss_mb, and raw, what the program said.
"""

import importlib
import json
import os
import shlex
import sys

from edgecc.device.agent import arrays, programs
from edgecc.device.agent.events import SessionError

PROFILED = 100  # runs: a trace has an event for every node of every run
PROFILE_WARMUP_S = 0.5
STARTS_S = 120.0  # what a program may take to load, besides its runs
PATIENCE = 6  # times the time asked for, where few runs take that long


def read_bundle(folder, identity):
    """Return a bundle's device.json. Raises SessionError where it is not for this device."""
    path = os.path.join(folder, "device.json")
    try:
        with open(path, encoding="utf-8") as stream:
            device = json.load(stream)
        backend, machine = device["backend"], device["machine"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SessionError(
            4, "{} is not a bundle that can be measured: {}".format(folder, error), "build it again"
        ) from None
    if machine not in (None, identity["machine"]):
        text = "{} is for {}, and this device is {}"
        raise SessionError(
            4,
            text.format(folder, machine, identity["machine"]),
            "build it with --target for this device",
        )
    if backend not in ("tvm", "onnxruntime", "tensorrt"):
        raise SessionError(4, "{} is for {}, which cannot be measured".format(folder, backend))
    return device


def open_runner(folder, device, scratch, session):
    """Return the runner of a bundle; `session` has job, events, guard, identity, left_s()."""
    if device["backend"] == "tensorrt":
        return Tensorrt(folder, session)
    return Program(folder, device, scratch, session)


class Program:
    """A runner that is a program: edgecc-run, tvm/run.py or onnxruntime/run.py."""

    def __init__(self, folder, device, scratch, session):
        self._folder, self._scratch, self._session = folder, scratch, session
        self._name = device["backend"]
        words = shlex.split(device["run"])
        self._words = [sys.executable, *words[1:]] if words[0] == "python3" else words
        self._words = without(self._words, ("-i", "--input", "-o", "--out"))
        if not words[0].startswith("/") and words[0] != "python3":
            self._words[0] = os.path.join(folder, words[0])
        self._shapes, given = {}, session.job.get("inputs") or {}
        for tensor in device["inputs"]:
            path = given.get(tensor["name"]) or self._draw(tensor)
            self._words += ["-i", "{}={}".format(tensor["name"], path)]
        self._words += ["-o", os.path.join(scratch, "out")]
        if session.job.get("threads"):
            self._words += ["--threads", str(session.job["threads"])]
        self._typical_s = None

    def _draw(self, tensor):
        name = tensor["name"]
        shape = self._shape(name, tensor["shape"])
        self._shapes[name] = shape
        path = os.path.join(self._scratch, "input-{}.npy".format(len(os.listdir(self._scratch))))
        try:
            arrays.write(path, tensor["dtype"], shape)
        except KeyError:
            text = "no input of type {} can be made up for {}"
            raise SessionError(4, text.format(tensor["dtype"], name)) from None
        return path

    def _shape(self, name, shape):
        """The sizes to run with: the job's, the bundle's own, those of its report's figures."""
        told = (self._session.job.get("shapes") or {}).get(name)
        for sizes in (told, shape, self._reported().get(name)):
            if sizes is not None and all(isinstance(n, int) and n > 0 for n in sizes):
                if sizes is not told and list(sizes) != list(shape):
                    text = "{}: the open sizes of the input {} are taken as in its report: {}"
                    self._session.events.note(text.format(self._folder, name, sizes))
                return list(sizes)
        raise SessionError(
            4,
            "the input {} of {} has no fixed shape: {}".format(name, self._folder, shape),
            "build it with --shape, or name a file for it",
        )

    def _reported(self):
        try:
            with open(os.path.join(self._folder, "report.json"), encoding="utf-8") as stream:
                return json.load(stream)["verify"]["inputs"]["shapes"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def warm(self, seconds):
        """Run for a time; what a run takes decides how many the next passes have."""
        done = self._run(seconds, ["--for", str(seconds)])
        times = sorted(done["times_ms"])
        self._typical_s = max(times[len(times) // 2] / 1e3, 1e-6)
        return done

    def latency(self, job):
        """Run for a time and a number of times, which bound each other."""
        seconds, most = job["seconds"], job["max_samples"]
        if seconds / self._typical_s > most:
            return self._run(seconds, ["--repeat", str(most)])
        least = int(min(job["min_samples"], max(1, PATIENCE * seconds / self._typical_s)))
        return self._run(seconds, ["--for", str(seconds), "--repeat", str(least)])

    def energy(self, seconds):
        """Run for a time."""
        return self._run(seconds, ["--for", str(seconds)])

    def profile(self, seconds):
        """Return the layers and their times, None where the runner does not tell them."""
        if self._name != "onnxruntime":
            return None
        path = os.path.join(self._scratch, "profile.json")
        runs = max(3, min(PROFILED, int(seconds / self._typical_s)))
        self._run(seconds, ["--repeat", str(runs), "--profile", path])
        try:
            with open(path, encoding="utf-8") as stream:
                return json.load(stream)
        except (OSError, ValueError) as error:
            raise SessionError(
                4, "onnxruntime wrote no profile that can be read: {}".format(error)
            ) from None

    def _run(self, seconds, options):
        path = os.path.join(self._scratch, "times.txt")
        if os.path.exists(path):
            os.unlink(path)
        timeout_s = min(PATIENCE * seconds + STARTS_S, self._session.left_s())
        argv = self._words + options + ["--warmup", "3", "--times", path]
        done = programs.run(self._session.guard, argv, self._folder, timeout_s)
        try:
            if done.code != 0:
                raise ValueError(done.why)
            with open(path) as stream:
                times = [float(line) for line in stream]
            report = json.loads(done.output.strip().splitlines()[-1])
            start_s, end_s = report["start_s"], report["end_s"]
            if not times:
                raise ValueError("it told no times")
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise SessionError(
                4,
                "the runner of {} failed: {}".format(self._folder, error),
                "run it by hand on the device: {}".format(" ".join(argv)),
            ) from None
        return {
            "times_ms": times,
            "start_s": start_s,
            "end_s": end_s,
            "runs": len(times),
            "runner": self._name,
            "shapes": self._shapes,
            "peak_rss_mb": done.peak_rss_mb,
            "raw": done.errors or None,
        }


def without(words, options):
    """Return a command without some of its options, and their values."""
    found, skip = [], False
    for word in words:
        if not skip and word not in options:
            found.append(word)
        skip = not skip and word in options
    return found


class Tensorrt:
    """An engine, through trtexec; what is packed of `targets.tensorrt.device` does it."""

    def __init__(self, folder, session):
        self._folder, self._session = folder, session
        self._shapes, self._trtexec = session.job.get("shapes"), session.identity["trtexec"]
        if self._call("engine", "find", folder, session.identity) is None:
            raise SessionError(
                5, "{} has no engine on this board yet".format(folder), "edgecc-device build"
            )

    def warm(self, seconds):
        """Run for a time."""
        return self._pass("load", self._folder, seconds, shapes=self._shapes)

    def latency(self, job):
        """Run for a time, and so many times at least."""
        return self._pass(
            "latency",
            self._folder,
            None,
            None,
            job["seconds"],
            self._session.job["warmup_s"],
            self._shapes,
            iterations=job["min_samples"],
        )

    def energy(self, seconds):
        """Run for a time."""
        return self._pass("load", self._folder, seconds, shapes=self._shapes)

    def profile(self, seconds):
        """Return the layers and their times."""
        done = self._call(
            "measure",
            "profile",
            self._folder,
            None,
            None,
            seconds,
            PROFILE_WARMUP_S,
            self._shapes,
            trtexec=self._trtexec,
        )
        return done["layers"]

    def _pass(self, name, *arguments, **options):
        done = self._call("measure", name, *arguments, trtexec=self._trtexec, **options)
        done.setdefault("runs", len(done["times_ms"]))
        return done

    def _call(self, module, name, *arguments, **options):
        part = tensorrt(module)
        try:
            return getattr(part, name)(*arguments, **options)
        except tensorrt("errors").BoardError as failure:
            raise SessionError(failure.code, failure.message, failure.hint) from None


def tensorrt(module):
    """Return a module of the part for TensorRT. Raises SessionError where it was not packed."""
    try:
        return importlib.import_module("targets.tensorrt.device." + module)
    except ImportError as error:
        raise SessionError(
            5, "this agent has no part for TensorRT: {}".format(error), "put a newer one there"
        ) from None
