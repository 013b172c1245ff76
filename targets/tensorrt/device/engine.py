"""The engine of a bundle: found in the cache of this board, or built through trtexec."""

import contextlib
import os
import shutil
import time

from targets.tensorrt.device import (
    bundle,
    cache,
    ladder,
    loading,
    messages,
    options,
    process,
    progress,
    summary,
)
from targets.tensorrt.device.errors import BUILD, BoardError

LIMIT_S = 4 * 3600.0
"""Five INT8 builds took 2.5 h on AGX Xavier: an hour each is nothing unusual."""


def build(folder, identity, tell, environ=os.environ, limit_s=LIMIT_S, fresh=False):
    """Return the record of the bundle's engine, built where the cache does not have it.

    `identity` is what `edgecc-device identify` prints; `tell` is called with each event (see
    DEVICE: build, progress, raw, note, engine); `fresh` builds what is there already. The bundle's
    engine.json names the entry. Errors: `errors.BoardError`; the cache is as it was then.
    """
    data = bundle.read(folder)
    notes = bundle.check_board(data, identity)
    version, more = bundle.check_tensorrt(data, identity)
    bundle.check_files(folder, data)
    for text in notes + more:
        tell({"event": "note", "text": text})
    work = Work(folder, data, identity, version, tell, environ, limit_s)
    work.say_if_stale()
    found = None if fresh else cache.find(work.place, work.key)
    if not found:
        try:
            with cache.locked(work.place, work.progress, limit_s):
                found = (not fresh and cache.find(work.place, work.key)) or work.make()
        except TimeoutError as error:
            raise BoardError(BUILD, str(error), "end the other build, or give this one more time")
        except OSError as error:
            raise BoardError(BUILD, "the engine cannot be kept: {}".format(error), _SPACE)
    work.name_in_bundle(*found)
    tell({"event": "engine", "key": work.key, "path": found[0], "record": found[1]})
    return found[1]


_SPACE = "free some space, or set XDG_CACHE_HOME to a folder that can be written"


def find(folder, identity, environ=os.environ):
    """Return (path of the plan, record) of the bundle's engine on this board, or None.

    The bundle's engine.json names it from then on: `measure` takes it from there.
    Errors: `errors.BoardError` where the bundle is not for this board or its TensorRT.
    """
    data = bundle.read(folder)
    bundle.check_board(data, identity)
    version, _ = bundle.check_tensorrt(data, identity)
    work = Work(folder, data, identity, version, None, environ, 0.0)
    found = cache.find(work.place, work.key)
    if found:
        work.name_in_bundle(*found)
    return found


class Work:
    """One engine to build: what is wanted, and where it goes."""

    def __init__(self, folder, data, identity, version, tell, environ, limit_s):
        self.folder, self.data, self.identity = folder, data, identity
        self.version, self.tell = version, tell
        self.trtexec = identity["trtexec"]
        self.until_s = time.monotonic() + limit_s
        self.limit_s = limit_s
        self.place = cache.home(environ)
        self.facts = bundle.facts(folder, data, identity, version)
        self.key = cache.key(self.facts)
        self.recipe = bundle.recipe(folder, data)
        self.nodes = data["engine"].get("nodes")

    def progress(self, text):
        """Tell where the build is, without an estimate."""
        self.tell({"event": "progress", "text": text, "share": None, "eta_s": None})

    def say_if_stale(self):
        """Tell where the engine that the bundle names is not the one for this board."""
        named = bundle.engine_of(self.folder)
        if not named or named["key"] == self.key:
            return
        whose = [named.get("tensorrt"), named.get("board")]
        if whose == [self.version, bundle.board_name(self.identity)]:
            text = "the bundle's engine is of another model or other options: it is built again"
        else:
            text = "the bundle's engine is for TensorRT {} on {}: this board has {}, so it is "
            text = text.format(*whose, self.version) + "built again"
        self.tell({"event": "note", "text": text})

    def name_in_bundle(self, path, record):
        """Write engine.json; a bundle that cannot be written to goes without."""
        named = {
            "schema_version": 1,
            "key": self.key,
            "path": path,
            "tensorrt": self.version,
            "trtexec": self.trtexec,
            "board": bundle.board_name(self.identity),
            "precision": record["precision"],
        }
        with contextlib.suppress(OSError):
            cache.write_json(os.path.join(self.folder, bundle.ENGINE), named)

    def make(self):
        """Build the engine and keep it; return (path of the plan, record)."""
        self.check_space()
        new = cache.new_folder(self.place)
        try:
            timing = self.timing_copy(new)
            record = self.climb(new, timing)
            record["device"] = self.check(new)
            self.tell_notes(record["warnings"])
            self.keep_timing(timing)
            return cache.store(self.place, self.key, new, record)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def check_space(self):
        """Errors: `BoardError` where the disk has no room for an engine and its timing cache."""
        needed = 3 * os.path.getsize(self.recipe["onnx"]) + 64 * 10**6
        free = shutil.disk_usage(self.place).free
        if free < needed:
            raise BoardError(
                BUILD,
                "the engine needs about {:.0f} MB in {}, {:.0f} MB are free".format(
                    needed / 1e6, self.place, free / 1e6
                ),
                "edgecc-device build --gc 0 removes every engine; or set XDG_CACHE_HOME",
            )

    def timing_copy(self, new):
        """Return a copy of the board's timing cache to build with: a dead build spoils none."""
        kept = cache.timing_cache(self.place, self.facts["board"]["module"], self.version)
        copy = os.path.join(new, "timing.cache")
        if os.path.exists(kept):
            shutil.copyfile(kept, copy)
        return copy

    def keep_timing(self, copy):
        """Keep what the build added to the timing cache."""
        if os.path.exists(copy):
            kept = cache.timing_cache(self.place, self.facts["board"]["module"], self.version)
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            os.rename(copy, kept)

    def climb(self, new, timing):
        """Build, a step of the ladder after the other, until an engine is there; its record."""
        memory_mb, steps = self.identity.get("memory_mb"), []
        attempt = ladder.first(self.recipe, memory_mb)
        known = progress.expected_s(cache.listing(self.place), self.facts, self.nodes)
        plan = os.path.join(new, cache.PLAN)
        while True:
            recipe = dict(self.recipe, timing_cache=timing, **attempt)
            argv = options.build(self.version, self.trtexec, recipe, plan)
            name = "trtexec-build-{}.log".format(len(steps) + 1)
            step = {"step": len(steps) + 1, "why": attempt["why"], "argv": argv}
            self.tell(dict(step, event="build"))
            done = self.run(argv, name, progress.Progress(self.tell, known).on_line)
            why = messages.cause(done.text, done.returncode)
            if why is None and not os.path.isfile(plan):
                why = ("unknown", None, None)
            steps.append(dict(step, seconds=round(done.seconds, 1), failed=why[0] if why else None))
            if why is None:
                return self.record(attempt, steps, done)
            attempt = self.after(attempt, why, memory_mb, done)

    def tell_notes(self, warnings):
        """Tell what a person must know of a build's warnings."""
        for text in messages.notes(warnings):
            self.tell({"event": "note", "text": text})

    def run(self, argv, name, on_line):
        """Run trtexec, keep its log, and return how it ended."""
        done = process.run(argv, self.until_s - time.monotonic(), on_line)
        self.tell({"event": "raw", "name": name, "text": done.text})
        logs = os.path.join(self.place, "logs")
        os.makedirs(logs, exist_ok=True)
        with open(os.path.join(logs, name), "w", encoding="utf-8") as stream:
            stream.write(done.text)
        if done.timed_out:
            raise BoardError(
                BUILD,
                "the build took longer than its {:g} s and was ended".format(self.limit_s),
                "give it more: edgecc-device build --limit SECONDS; what was timed is not lost",
            )
        return done

    def after(self, attempt, why, memory_mb, done):
        """Return the next attempt. Errors: `BoardError`, with what trtexec said last."""
        try:
            return ladder.following(attempt, why, self.version, memory_mb)
        except BoardError as failure:
            said = messages.errors(done.text)
            if said:
                failure.message += "; trtexec says: " + " / ".join(said)
            raise

    def record(self, attempt, steps, done):
        """Return what is known of a build that came to its end."""
        return {
            "schema_version": 1,
            "facts": self.facts,
            "model_sha256": self.facts["model_sha256"],
            "tensorrt": self.version,
            "board": self.facts["board"],
            "asked_precision": self.recipe["precision"],
            "precision": attempt["precision"],
            "workspace_mb": attempt["workspace_mb"],
            "layers_fp32": attempt["layers_fp32"],
            "dla": self.recipe["dla"],
            "shapes": self.facts["shapes"],
            "steps": steps,
            "build_s": round(messages.engine_built_s(done.text) or done.seconds, 3),
            "nodes": self.nodes,
            "warnings": messages.warnings(done.text),
            "gpu_layers": messages.fallbacks(done.text),
            "time_unix_s": int(time.time()),
        }

    def check(self, new):
        """Load the engine and run it once; return what trtexec says of the device.

        Errors: `BoardError` where it does not load, or binds other shapes than the bundle's.
        """
        plan, info = (os.path.join(new, name) for name in (cache.PLAN, cache.LAYERS))
        self.progress("loading the engine")
        argv = options.check(self.version, self.trtexec, plan, self.recipe, info)
        done = self.run(argv, "trtexec-load.log", lambda line, at_s: None)
        why = messages.cause(done.text, done.returncode)
        if why:
            raise loading.unloadable(why, self.version, done)
        loading.check_shapes(summary.bound_shapes(done.text), bundle.shapes(self.data))
        return summary.device(done.text)
