"""Loads an engine and runs it, or refuses to as trtexec of its version does."""

import json
import os

import trtexec_text as text
from trtexec_build import MAGIC, overridden
from trtexec_call import GaveUpError


def load(call):
    path = call.given["--loadEngine"]
    try:
        with open(path, "rb") as stream:
            head, _, data = stream.read().partition(b"\n")
        head = json.loads(head[len(MAGIC) :].decode()) if head.startswith(MAGIC) else None
    except OSError:
        call.log.error("Error opening engine file: %s" % path)
        call.give_up()
    if head is None:
        call.log.trt(
            "E",
            "Error[1]: [stdArchiveReader.cpp::StdArchiveReader::32] Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match)",
        )
        not_loaded(call)
    if head["version"] != call.name:
        other_version(call, head)
    if head["compute"] != call.board["compute"]:
        said = (
            "The engine plan file is generated on an incompatible device, expecting compute %s got compute %s, please rebuild."
            % (call.board["compute"], head["compute"])
        )
        call.log.trt("E", ("INVALID_CONFIG: " if call.version < (8,) else "Error[6]: ") + said)
        not_loaded(call)
    if call.version >= (8,):
        call.log.trt("I", "Loaded engine size: %d MiB" % (len(data) >> 20))
    return head, data


def other_version(call, head):
    mine = call.of("serialization")
    said = (
        "The engine plan file is not compatible with this version of TensorRT, expecting library version %s got %s, please rebuild."
        % (call.name, head["version"])
    )
    if call.version < (8,):
        call.log.trt("E", "INVALID_CONFIG: " + said)
        call.log.trt(
            "E",
            "engine.cpp (1646) - Serialization Error in deserialize: 0 (Core engine deserialization failure)",
        )
    elif head["serialization"] == mine:
        call.log.trt("E", "Error[6]: " + said)
    else:
        where, name = "[stdArchiveReader.cpp::StdArchiveReader::40]", "serializationVersion"
        if call.version >= (10,):
            where, name = "IRuntime::deserializeCudaEngine:", "kSERIALIZATION_VERSION"
        call.log.trt(
            "E",
            "Error[1]: %s Error Code 1: Serialization (Serialization assertion stdVersionRead == %s failed.Version tag does not match. Note: Current Version: %d, Serialized Engine Version: %d)"
            % (where, name, mine, head["serialization"]),
        )
    not_loaded(call)


def not_loaded(call):
    if call.version < (8,):
        call.log.trt("E", "INVALID_STATE: std::exception")
        call.log.trt("E", "INVALID_CONFIG: Deserialize the cuda engine failed.")
        call.give_up()
    call.log.trt(
        "E",
        "Error[4]: [runtime.cpp::deserializeCudaEngine::50] Error Code 4: Internal Error (Engine deserialization failed.)",
    )
    for line in ("Engine deserialization failed", "Got invalid engine!", "Inference set up failed"):
        call.log.error(line)
    raise GaveUpError


def infer(call, head, data):
    import trtexec_run as running

    network = running.session(data, call.threads)
    given = call.shapes("--shapes")
    dynamic = head["dynamic"]
    if dynamic and not given and "--onnx" not in call.given:
        overridden(call, {name: [-1 for _ in shape] for name, shape in dynamic.items()}, {})
    shapes = {name: given.get(name, shape) for name, shape in dynamic.items()}
    feed = running.feed_of(network, shapes)
    bound = {name: list(array.shape) for name, array in feed.items()}
    outputs = {
        value.name: [size if isinstance(size, int) else 1 for size in value.shape]
        for value in network.get_outputs()
    }
    text.bound(call.log, bound, outputs)
    call.log.info("Starting inference" + (" threads" if call.version < (8,) else ""))
    options = {
        "warmUp": call.number("--warmUp", 200),
        "duration": call.number("--duration", 3),
        "iterations": call.number("--iterations", 10),
        "avgRuns": int(call.number("--avgRuns", 10)),
        "noDataTransfers": "--noDataTransfers" in call.given,
        "percentile": [float(one) for one in call.given.get("--percentile", "").split(",") if one],
    }
    profiled = "--dumpProfile" in call.given or "--exportProfile" in call.given
    separate = "--separateProfileRun" in call.given
    rows = running.run(network, feed, options)
    warmups = sum(row["compute"][0] < options["warmUp"] for row in rows)
    if not profiled or separate or call.version < (8,):
        text.performance(call.log, rows, warmups, options)
    if "--exportTimes" in call.given:
        running.export_times(call.given["--exportTimes"], rows, warmups, call.version)
    report_layers(call, head, data, shapes, len(rows), profiled, list(bound) + list(outputs))


def report_layers(call, head, data, shapes, runs, profiled, names):
    import trtexec_run as running

    if not profiled and "--exportLayerInfo" not in call.given:
        return
    timed = running.layers(data, call.threads, shapes, max(1, min(runs, 200)))
    if call.fail.get("quotes"):
        timed[0] = ('a "quoted" name', *timed[0][1:])
    if "--exportLayerInfo" in call.given:
        running.export_layer_info(call.given["--exportLayerInfo"], timed, head["detailed"], names)
    if profiled:
        path = call.given.get("--exportProfile") or os.devnull
        count, total = running.export_profile(path, timed, call.version)
        if "--dumpProfile" in call.given:
            text.profile(call.log, timed, count, total)
