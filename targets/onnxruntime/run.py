#!/usr/bin/env python3
"""Run an ONNX model on the device: numpy files in, numpy files out.

Needs numpy and onnxruntime, nothing of edgecc; Python 3.6 and later.
"""

import argparse
import json
import os
import time

import numpy as np
import onnxruntime


def main():
    """Run the model once, or time it."""
    parser = argparse.ArgumentParser(description="Run an ONNX model on numpy files.")
    parser.add_argument("model")
    parser.add_argument("-i", "--input", action="append", default=[], metavar="NAME=FILE.npy")
    parser.add_argument("-o", "--out", default=".", help="folder for OUTPUT.npy")
    parser.add_argument("--repeat", type=int, default=0, help="timed runs")
    parser.add_argument("--for", dest="seconds", type=float, default=0.0, help="run until then")
    parser.add_argument("--times", metavar="FILE", help="takes the time of each run in ms")
    parser.add_argument("--profile", metavar="FILE", help="takes the time of each node, as JSON")
    parser.add_argument("--warmup", type=int, default=1, help="untimed runs before them")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to onnxruntime")
    arguments = parser.parse_args()
    if arguments.times and not (arguments.repeat or arguments.seconds):
        parser.error("--times needs --repeat or --for")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    if arguments.profile:
        options.enable_profiling = True
        options.profile_file_prefix = arguments.profile + ".trace"
    session = onnxruntime.InferenceSession(
        arguments.model, options, providers=["CPUExecutionProvider"]
    )
    feed = {}
    for item in arguments.input:
        name, equals, path = item.partition("=")
        if not equals:
            parser.error("-i takes NAME=FILE.npy, not " + item)
        try:
            feed[name] = np.load(path)
        except (OSError, ValueError) as error:
            parser.error("cannot read {} for the input {}: {}".format(path, name, error))
    outputs = session.run(None, feed)
    if not os.path.isdir(arguments.out):
        os.makedirs(arguments.out)
    for value, array in zip(session.get_outputs(), outputs):
        np.save(os.path.join(arguments.out, value.name.replace("/", "_") + ".npy"), array)
    if arguments.repeat or arguments.seconds:
        print(json.dumps(timed(session, feed, arguments)))
    if arguments.profile:
        nodes = times_of_nodes(session.end_profiling())
        with open(arguments.profile, "w", encoding="utf-8") as stream:
            json.dump(nodes, stream)


def timed(session, feed, arguments):
    """Run `arguments.repeat` times at least, and until `arguments.seconds` have passed.

    Return the times in milliseconds, and when they began and ended on the monotonic clock.
    """
    for _ in range(arguments.warmup):
        session.run(None, feed)
    times_ms, start = [], time.perf_counter()
    end = start
    while len(times_ms) < max(1, arguments.repeat) or end - start < arguments.seconds:
        begin = time.perf_counter()
        session.run(None, feed)
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


def times_of_nodes(path):
    """Return the times of the nodes in onnxruntime's trace, in their order; remove the trace."""
    with open(path, encoding="utf-8") as stream:
        events = json.load(stream)
    os.unlink(path)
    found, operators = {}, {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"][: -len("_kernel_time")]
            found.setdefault(name, []).append(event["dur"] / 1e3)
            operators[name] = event.get("args", {}).get("op_name")
    return [
        {
            "name": name,
            "op": operators[name],
            "average_ms": sum(times_ms) / len(times_ms),
            "median_ms": sorted(times_ms)[len(times_ms) // 2],
        }
        for name, times_ms in found.items()
    ]


if __name__ == "__main__":
    main()
