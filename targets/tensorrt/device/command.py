"""`edgecc-device build`: events as JSON lines on stdout, words for a person on stderr."""

import json
import sys

from targets.tensorrt.device import cache, engine
from targets.tensorrt.device.errors import INTERRUPTED, BoardError


def main_build(arguments, identity, out=None, err=None):
    """Build the engine of a bundle, or look after the cache; return the exit code.

    `arguments` have `folder`, the bundle; `fresh`, to build what the cache has; `limit`, in seconds
    or None; `list`, to list the cache, and `gc`, how many MB of it to keep, or None. `identity` is
    what `edgecc-device identify` prints as a dictionary, or a function that returns it.
    A terminal is told no events.
    """
    out, err = out or sys.stdout, err or sys.stderr

    def tell(event):
        if not out.isatty():
            out.write(json.dumps(event, sort_keys=True) + "\n")
            out.flush()
        text = words(event)
        if text:
            err.write(text + "\n")
            err.flush()

    try:
        if arguments.list or arguments.gc is not None:
            _look_after(arguments, out, err)
        else:
            board = identity() if callable(identity) else identity
            limit_s = arguments.limit or engine.LIMIT_S
            engine.build(arguments.folder, board, tell, limit_s=limit_s, fresh=arguments.fresh)
    except BoardError as failure:
        tell(failure.event())
        return failure.code
    except KeyboardInterrupt:
        tell(BoardError(INTERRUPTED, "interrupted; the cache is as it was").event())
        return INTERRUPTED
    return 0


def _look_after(arguments, out, err):
    place = cache.home()
    if arguments.gc is not None:
        with cache.locked(place, lambda text: err.write(text + "\n"), 60.0):
            removed = cache.gc(place, arguments.gc)
        err.write("removed {} of the engines\n".format(len(removed)))
    engines = cache.listing(place)
    if not out.isatty():
        out.write(json.dumps({"place": place, "engines": engines}, sort_keys=True) + "\n")
    for record in engines:
        err.write(_row(record) + "\n")


def _row(record):
    if record.get("damaged"):
        return "{}  damaged".format(record["key"][:12])
    return "{}  TensorRT {}  {}  {:.1f} MB  built in {:.0f} s".format(
        record["key"][:12],
        record["tensorrt"],
        record["precision"],
        record["size_bytes"] / 1e6,
        record["build_s"],
    )


def words(event):
    """Return an event in words for a person, or None."""
    kind = event["event"]
    if kind == "build":
        return "build {}: {}".format(event["step"], event["why"])
    if kind == "progress":
        if event["eta_s"] is None:
            return "  " + event["text"]
        return "  {}, about {:.0f} s to go".format(event["text"], event["eta_s"])
    if kind == "note":
        return "note: " + event["text"]
    if kind == "engine":
        record = event["record"]
        less = "" if record["precision"] == record["asked_precision"] else " ({} did not build)"
        kept = ", ".join(record["layers_fp32"])
        return "engine: {}, {}{}{}, TensorRT {}".format(
            event["path"],
            record["precision"],
            " (fp32 in {})".format(kept) if kept else "",
            less.format(record["asked_precision"]),
            record["tensorrt"],
        )
    if kind == "error":
        hint = "\n  hint: " + event["hint"] if event["hint"] else ""
        return "edgecc-device: {}{}".format(event["message"], hint)
    return None
