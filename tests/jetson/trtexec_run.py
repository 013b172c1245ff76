"""Runs the network in onnxruntime and writes the times as each version of trtexec does."""

import json
import os
import statistics
import tempfile
import time

import numpy as np
import onnxruntime
from trtexec_onnx import Model
from trtexec_text import latency, took

MOST = 100000


def session(model, threads, profile=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # no blocked layouts: each layer keeps its node's name
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feed_of(network, shapes):
    kinds = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(double)": np.float64,
    }
    random = np.random.default_rng(0)
    feed = {}
    for value in network.get_inputs():
        shape = shapes.get(value.name) or value.shape
        kind = kinds.get(value.type)
        feed[value.name] = (
            random.standard_normal(shape).astype(kind)
            if kind
            else np.ones(shape, value.type[len("tensor(") : -1].replace("bool", "bool_"))
        )
    return feed


def run(network, feed, options):
    """Return the rows of all queries, warm-up and timed, in ms from the start."""
    rows, transfers = [], not options["noDataTransfers"]
    names = [value.name for value in network.get_outputs()]
    least, begin = options["iterations"], time.perf_counter()
    until = (options["warmUp"] / 1000.0) + options["duration"]
    timed = 0

    def now():
        return (time.perf_counter() - begin) * 1e3

    while (timed < least or now() < until * 1e3) and len(rows) < MOST:
        in_start = now()
        given = {name: array.copy() for name, array in feed.items()} if transfers else feed
        in_end = now() if transfers else in_start
        enq_start = now()
        start = now()
        results = network.run(names, given)
        end = now()
        enq_end = start + 0.05 * (end - start)
        if transfers:
            results = [np.array(result) for result in results]
        out_end = now() if transfers else end
        row = {"enq": (enq_start, enq_end), "in": (in_start, in_end), "compute": (start, end)}
        rows.append(dict(row, out=(end, out_end)))
        timed += start >= options["warmUp"]
    return rows


def export_times(path, rows, warmups, version):
    """Write the rows with the keys of `version`: 7.x swaps Enq and In, 8.5 leaves out warm-ups."""
    if version < (8,):
        keys = ("Enq", "in"), ("In", "enq"), ("Compute", "compute"), ("Out", "out")
        sums = ("inMs", "computeMs", "outMs")
    else:
        keys = ("Enq", "enq"), ("H2d", "in"), ("Compute", "compute"), ("D2h", "out")
        sums = ("h2dMs", "computeMs", "d2hMs")
    with open(path, "w") as stream:
        stream.write("[\n")
        for index, row in enumerate(rows[warmups:] if version >= (8, 5) else rows):
            items = []
            for key, part in keys:
                items += [("start%sMs" % key, row[part][0]), ("end%sMs" % key, row[part][1])]
            items += list(zip(sums, (took(row, part) for part in ("in", "compute", "out"))))
            items.append(("latencyMs", latency(row)))
            if version < (8, 4):
                items.append(("endToEndMs", row["out"][1] - row["in"][0]))
            text = ", ".join('"%s" : %g' % item for item in items)
            stream.write("%s{ %s }\n" % (", " if index else "  ", text))
        stream.write("]\n")


def layers(model, threads, shapes, runs):
    """Return [(name, operator, times in ms)] of each layer, from onnxruntime's own profiler.

    A node that was fused into the one before it is in the name: `Conv_0 + Relu_1`.
    """
    with tempfile.TemporaryDirectory() as folder:
        network = session(model, threads, os.path.join(folder, "profile"))
        feed = feed_of(network, shapes)
        for _ in range(runs):
            network.run(None, feed)
        with open(network.end_profiling()) as stream:
            events = json.load(stream)
    found = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"][: -len("_kernel_time")]
            found.setdefault((name, event["args"].get("op_name")), []).append(event["dur"] / 1e3)
    whole = fused(Model(model).nodes, {name for name, _ in found})
    return [(whole.get(name, name), kind, times) for (name, kind), times in found.items()]


def fused(nodes, timed):
    """{name of a timed node: the layer's name}."""
    layer_of, whole = {}, {}
    for _, name, inputs, outputs in nodes:
        before = next((layer_of[tensor] for tensor in inputs if tensor in layer_of), None)
        layer = before if name not in timed and before else name
        whole[layer] = whole[layer] + " + " + name if layer in whole else name
        layer_of.update(dict.fromkeys(outputs, layer))
    return whole


def export_profile(path, timed, version):
    total = sum(sum(times) for _, _, times in timed) or 1.0
    count = max(len(times) for _, _, times in timed)
    with open(path, "w") as stream:
        stream.write('[\n  { "count" : %d }\n' % count)
        for name, _, times in timed:
            row = ', { "name" : "%s", "timeMs" : %g' % (name, sum(times))
            row += ', "averageMs" : %g' % (sum(times) / count)
            if version >= (8, 4):
                row += ', "medianMs" : %g' % statistics.median(times)
            stream.write(row + ', "percentage" : %g }\n' % (100 * sum(times) / total))
        stream.write("]\n")
    return count, total


def export_layer_info(path, timed, detailed, names):
    """Write the layers: dictionaries of an engine built with detailed verbosity, else names."""
    with open(path, "w") as stream:
        rows = []
        for name, operator, _ in timed:
            kind = "CaskConvolution" if "Conv" in operator else operator
            row = '{"Name": "%s","LayerType": "%s","Inputs": [],"Outputs": [],' % (name, kind)
            row += '"ParameterType": "%s","TacticValue": "0x0"}' % operator
            rows.append(row if detailed else '"%s"' % name)
        bound = ", ".join('"%s"' % name for name in names)
        stream.write('{"Layers": [%s],\n"Bindings": [%s\n]}\n' % ("\n,".join(rows), bound))
