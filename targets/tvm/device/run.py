#!/usr/bin/env python3
"""Run a network in segments on the device: numpy files in, numpy files out.

Needs numpy and onnxruntime, nothing of edgecc or TVM; Python 3.6 and later. What TVM compiled runs
through the libraries that lie beside this file.
"""

import argparse
import json
import os
import time

import numpy as np

FOLDER = os.path.dirname(os.path.abspath(__file__))


def main():
    """Run the network once, or time it."""
    parser = argparse.ArgumentParser(description="Run a network on numpy files.")
    parser.add_argument("-i", "--input", action="append", default=[], metavar="NAME=FILE.npy")
    parser.add_argument("-o", "--out", default=".", help="folder for OUTPUT.npy")
    parser.add_argument("--repeat", type=int, default=0, help="timed runs")
    parser.add_argument("--for", dest="seconds", type=float, default=0.0, help="run until then")
    parser.add_argument("--times", metavar="FILE", help="takes the time of each run in ms")
    parser.add_argument("--warmup", type=int, default=1, help="untimed runs before them")
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core")
    arguments = parser.parse_args()
    if arguments.times and not (arguments.repeat or arguments.seconds):
        parser.error("--times needs --repeat or --for")
    with open(os.path.join(FOLDER, "segments.json"), encoding="utf-8") as stream:
        network = json.load(stream)
    feed = read_inputs(parser, network["inputs"], arguments.input)
    segments = [load(segment, arguments.threads) for segment in network["segments"]]
    values = run(segments, feed)
    if not os.path.isdir(arguments.out):
        os.makedirs(arguments.out)
    for tensor in network["outputs"]:
        np.save(os.path.join(arguments.out, tensor["file"]), values[tensor["name"]])
    if arguments.repeat or arguments.seconds:
        print(json.dumps(timed(segments, feed, arguments)))


def read_inputs(parser, tensors, items):
    """Return the arrays in the files of the command line, by the names of the inputs."""
    feed = {}
    for item in items:
        known = [tensor for tensor in tensors if item.startswith(tensor["name"] + "=")]
        if not known:
            names = ", ".join(tensor["name"] for tensor in tensors)
            parser.error("-i takes NAME=FILE.npy with a NAME of {}, not {}".format(names, item))
        tensor = max(known, key=lambda tensor: len(tensor["name"]))
        path = item[len(tensor["name"]) + 1 :]
        try:
            array = np.load(path)
        except (OSError, ValueError) as error:
            parser.error("cannot read {} for the input {}: {}".format(path, tensor["name"], error))
        if array.dtype != tensor["dtype"] or not fits(array.shape, tensor["shape"]):
            parser.error(
                "{} holds {} {}, the input {} takes {} {}".format(
                    path, array.dtype, array.shape, tensor["name"], tensor["dtype"], tensor["shape"]
                )
            )
        feed[tensor["name"]] = array
    for tensor in tensors:
        if tensor["name"] not in feed:
            parser.error("the input {0} is missing: -i {0}=FILE.npy".format(tensor["name"]))
    return feed


def fits(shape, wanted):
    """Return whether an array's shape is the one wanted; None stands for any size."""
    return len(shape) == len(wanted) and all(w in (None, s) for s, w in zip(shape, wanted))


def load(segment, threads):
    """Return a segment as the names it reads and a function of a dictionary of arrays."""
    path = os.path.join(FOLDER, segment["path"])
    names = [tensor["name"] for tensor in segment["inputs"]]
    outputs = [tensor["name"] for tensor in segment["outputs"]]
    if path.endswith(".so"):
        if threads:
            os.environ["TVM_NUM_THREADS"] = str(threads)
        from compiled import Compiled

        function = Compiled(FOLDER, path, segment["inputs"], len(outputs))
    else:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, providers=providers)

        def function(*arrays):
            return session.run(outputs, dict(zip(names, arrays)))

    return names, outputs, function


def run(segments, feed):
    """Return every tensor that passes between segments, and the network's outputs, by name."""
    values = dict(feed)
    for names, outputs, function in segments:
        values.update(zip(outputs, function(*[values[name] for name in names])))
    return values


def timed(segments, feed, arguments):
    """Run `arguments.repeat` times at least, and until `arguments.seconds` have passed.

    Return the times in milliseconds, and when they began and ended on the monotonic clock.
    """
    for _ in range(arguments.warmup):
        run(segments, feed)
    times_ms, start = [], time.perf_counter()
    end = start
    while len(times_ms) < max(1, arguments.repeat) or end - start < arguments.seconds:
        begin = time.perf_counter()
        run(segments, feed)
        end = time.perf_counter()
        times_ms.append((end - begin) * 1e3)
    if arguments.times:
        with open(arguments.times, "w") as stream:
            stream.writelines("{:.6f}\n".format(time_ms) for time_ms in times_ms)
    ordered = sorted(times_ms)
    return {
        "repeat": len(ordered),
        "min_ms": ordered[0],
        "median_ms": ordered[len(ordered) // 2],
        "max_ms": ordered[-1],
        "start_s": start,
        "end_s": end,
    }


if __name__ == "__main__":
    main()
