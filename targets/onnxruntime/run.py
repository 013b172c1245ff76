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
    parser.add_argument("--warmup", type=int, default=1, help="untimed runs before them")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to onnxruntime")
    arguments = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
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
    if arguments.repeat:
        print(json.dumps(timed(session, feed, arguments.repeat, arguments.warmup)))


def timed(session, feed, repeat, warmup):
    """Return the times of `repeat` runs in milliseconds."""
    times_ms = []
    for index in range(-warmup, repeat):
        start = time.perf_counter()
        session.run(None, feed)
        if index >= 0:
            times_ms.append((time.perf_counter() - start) * 1e3)
    times_ms.sort()
    return {
        "repeat": repeat,
        "min_ms": times_ms[0],
        "median_ms": times_ms[len(times_ms) // 2],
        "max_ms": times_ms[-1],
    }


if __name__ == "__main__":
    main()
