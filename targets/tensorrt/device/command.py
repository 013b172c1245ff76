"""`edgecc-device build`: events as JSON lines on stdout, words for a person on stderr."""

import argparse
import json
import os
import sys

from targets.tensorrt.device import cache, engine
from targets.tensorrt.device.errors import INTERRUPTED, BoardError


def main_build(arguments, identity, default_folder=None, out=None, err=None):
    """Build the engine of a bundle, or look after the cache; return the exit code.

    `identity` is what `edgecc-device identify` prints as a dictionary, or a function that returns
    it; `default_folder` is the bundle where none is named: as a rule the folder this file lies in.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        asked = _parser().parse_args(arguments)
    except SystemExit as leaving:
        return leaving.code

    def tell(event):
        out.write(json.dumps(event, sort_keys=True) + "\n")
        out.flush()
        text = words(event)
        if text:
            err.write(text + "\n")
            err.flush()

    folder = asked.folder or default_folder or os.path.dirname(os.path.abspath(sys.argv[0]))
    try:
        if asked.list or asked.gc is not None:
            _look_after(asked, out, err)
        else:
            board = identity() if callable(identity) else identity
            engine.build(folder, board, tell, limit_s=asked.limit, fresh=asked.fresh)
    except BoardError as failure:
        tell(failure.event())
        return failure.code
    except KeyboardInterrupt:
        tell(BoardError(INTERRUPTED, "interrupted; the cache is as it was").event())
        return INTERRUPTED
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="edgecc-device build", description="Build the engine of a bundle on this board."
    )
    parser.add_argument("folder", nargs="?", help="the bundle (default: where this file lies)")
    parser.add_argument("--fresh", action="store_true", help="build it though the cache has it")
    parser.add_argument("--limit", type=float, default=engine.LIMIT_S, metavar="SECONDS")
    parser.add_argument("--list", action="store_true", help="the engines in the cache")
    parser.add_argument("--gc", type=float, metavar="MB", help="keep at most so much of the cache")
    return parser


def _look_after(asked, out, err):
    place = cache.home()
    if asked.gc is not None:
        with cache.locked(place, lambda text: err.write(text + "\n"), 60.0):
            removed = cache.gc(place, asked.gc)
        err.write("removed {} of the engines\n".format(len(removed)))
    engines = cache.listing(place)
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
        return "engine: {}, {}{}, TensorRT {}".format(
            event["path"],
            record["precision"],
            less.format(record["asked_precision"]),
            record["tensorrt"],
        )
    if kind == "error":
        hint = "\n  hint: " + event["hint"] if event["hint"] else ""
        return "edgecc-device: {}{}".format(event["message"], hint)
    return None
