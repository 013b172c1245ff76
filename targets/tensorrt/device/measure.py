"""Timing a bundle's engine with trtexec: what the agent calls for `backend: tensorrt`.

    latency(folder, engine_path, version, seconds, warmup_s, shapes)
        -> {"times_ms": [..], "compute_ms": [..], "runner": "trtexec 8.5.2", "shapes": {"x": [..]},
            "start_s": .., "end_s": .., "summary": {..}, "warnings": {..}, "notes": [..],
            "raw": text}
    load(folder, seconds, ...) -> the same: for the energy pass, with no warm-up of its own and no
        spinning, which would draw a core's power
    profile(folder, engine_path, version, seconds, warmup_s, shapes)
        -> {"layers": [{"name", "median_ms", "average_ms", ..}], "info": [..], "count", "repaired",
            "runner", "raw"}

`engine_path` None is the engine that the bundle's engine.json names, `version` None its TensorRT,
`trtexec` None what built it. `shapes` are those of dynamic inputs, None the bundle's own. `start_s`
and `end_s` are CLOCK_MONOTONIC seconds of the first timed query's begin and the last one's end: the
engine's loading lies before them. Errors: `errors.BoardError`.
"""

import os
import shutil
import tempfile

from targets.tensorrt.device import bundle, loading, messages, options, process, summary
from targets.tensorrt.device import profile as layers_of
from targets.tensorrt.device import times as queries
from targets.tensorrt.device import version as versions
from targets.tensorrt.device.errors import BUILD, DEVICE, BoardError

STARTING_S = 300.0
"""What loading an engine and writing the times may take besides the run."""


def latency(
    folder,
    engine_path,
    version,
    seconds,
    warmup_s,
    shapes=None,
    trtexec=None,
    iterations=10,
    extra=options.SPIN,
):
    """Time the engine for `seconds` after a warm-up (see the module)."""
    run = Run(folder, engine_path, version, shapes, trtexec)
    try:
        path = os.path.join(run.scratch, "times.json")
        argv = options.latency(
            run.version,
            run.trtexec,
            run.engine,
            run.recipe,
            path,
            seconds,
            warmup_s,
            iterations,
            extra,
        )
        done = run.do(argv, seconds + warmup_s)
        rows = queries.read(run.text_of(path), run.version, warmup_s)
    finally:
        run.close()
    return {
        "times_ms": [row["latency_ms"] for row in rows],
        "compute_ms": [row["compute_ms"] for row in rows],
        "runner": run.runner,
        "shapes": run.bound,
        "start_s": run.started_s + rows[0]["start_ms"] / 1000.0,
        "end_s": run.started_s + rows[-1]["end_ms"] / 1000.0,
        "summary": summary.performance(done.text),
        "warnings": messages.warnings(done.text),
        "notes": messages.notes(messages.warnings(done.text)),
        "raw": done.text,
    }


def load(folder, seconds, engine_path=None, version=None, shapes=None, trtexec=None, warmup_s=0):
    """Keep the engine running for `seconds` and return its times (see the module)."""
    return latency(folder, engine_path, version, seconds, warmup_s, shapes, trtexec, extra=())


def profile(
    folder, engine_path, version, seconds, warmup_s, shapes=None, trtexec=None, iterations=10
):
    """Time each layer, in a run of its own (see the module)."""
    run = Run(folder, engine_path, version, shapes, trtexec)
    try:
        paths = [os.path.join(run.scratch, name) for name in ("layers.json", "info.json")]
        argv = options.profile(
            run.version,
            run.trtexec,
            run.engine,
            run.recipe,
            paths[0],
            paths[1],
            seconds,
            warmup_s,
            iterations,
        )
        done = run.do(argv, 2 * (seconds + warmup_s))  # --separateProfileRun runs it twice
        count, layers, repaired = layers_of.read(run.text_of(paths[0]))
        info = layers_of.layer_info(run.text_of(paths[1])) if os.path.exists(paths[1]) else []
    finally:
        run.close()
    return {
        "layers": layers,
        "info": info,
        "count": count,
        "repaired": repaired,
        "runner": run.runner,
        "raw": done.text,
    }


class Run:
    """One run of trtexec on a bundle's engine."""

    def __init__(self, folder, engine_path, version, shapes, trtexec):
        self.data = bundle.read(folder)
        named = bundle.engine_of(folder) or {}
        self.engine = engine_path or named.get("path")
        self.version = versions.short(version or named.get("tensorrt"))
        self.trtexec = trtexec or self.named_trtexec(named) or versions.locate()
        self.recipe = bundle.recipe(folder, self.data)
        if shapes:
            given = {name: shapes[name] for name in self.recipe["dynamic"] if name in shapes}
            self.recipe["dynamic"].update(given)
        if not self.engine or not os.path.isfile(self.engine):
            raise BoardError(
                BUILD, "the bundle has no engine on this board yet", "build it: edgecc-device build"
            )
        if not self.trtexec:
            raise BoardError(
                DEVICE, "this board has no trtexec", "sudo apt-get install libnvinfer-bin"
            )
        self.runner = "trtexec {}".format(self.version)
        self.scratch = tempfile.mkdtemp(prefix="edgecc-")
        self.started_s = None
        self.bound = {}

    @staticmethod
    def named_trtexec(named):
        """Return the trtexec that built the engine, where it is still there."""
        path = named.get("trtexec") or ""
        return path if os.access(path, os.X_OK) else None

    def on_line(self, line, at_s):
        """Note when the first query starts: trtexec's own clock counts from there."""
        if line is not None and "Starting inference" in line:
            self.started_s = at_s

    def do(self, argv, seconds):
        """Run trtexec and return how it ended. Errors: `BoardError` where that is not well."""
        done = process.run(argv, seconds + STARTING_S, self.on_line)
        why = messages.cause(done.text, done.returncode)
        if done.timed_out:
            raise BoardError(
                BUILD,
                "trtexec did not end within {:.0f} s".format(seconds + STARTING_S),
                "is another program using the GPU?",
            )
        if why or self.started_s is None:
            raise loading.unloadable(why or ("unknown", None, None), self.version, done)
        self.bound = summary.bound_shapes(done.text)
        loading.check_shapes(self.bound, dict(bundle.shapes(self.data), **self.recipe["dynamic"]))
        return done

    def text_of(self, path):
        """Return what trtexec wrote to `path`. Errors: `BoardError` where it wrote nothing."""
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except OSError as error:
            raise BoardError(BUILD, "trtexec wrote no {}: {}".format(os.path.basename(path), error))

    def close(self):
        """Remove the run's own files."""
        shutil.rmtree(self.scratch, ignore_errors=True)
