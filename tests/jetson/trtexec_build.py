"""Builds an engine, or fails to as trtexec of its version does."""

import json
import os
import signal
import time

import trtexec_text as text
from trtexec_onnx import Model

MAGIC = b"stand-in engine "
BEGAN = time.time()


def build(call):
    path = call.given["--onnx"]
    try:
        with open(path, "rb") as stream:
            data = stream.read()
        model = Model(data)
    except (OSError, ValueError, IndexError):
        call.log.error(
            "[TRT] ModelImporter.cpp:735: GaveUpError to parse ONNX model from file: %s" % path
        )
        call.give_up("GaveUpError to parse onnx file", "Parsing model failed")
    text.parsing(call.log, path, model)
    check_parser(call, model)
    call.log.info("Finish%s parsing network model" % ("ed" if call.version >= (8, 6) else ""))
    shapes = build_shapes(call, model)
    if (
        "int8" in call.precisions()
        and "--calib" not in call.given
        and not any(n[0] == "QuantizeLinear" for n in model.nodes)
    ):
        call.log.trt(
            "W",
            "Calibrator is not being used. Users must provide dynamic range for all tensors that are not Int32 or Bool.",
        )
    if call.board["compute"] in ("5.3", "6.2") and "--int8" in call.given:
        call.log.trt(
            "W",
            "Int8 support requested on hardware without native Int8 support, performance will be negatively affected.",
        )
    timing_cache(call)
    fail_on_demand(call)
    check_implementations(call)
    ins, outs = len(model.inputs), len(model.outputs)
    call.log.trt("I", "Detected %d inputs and %d output network tensors." % (ins, outs))
    head = {
        "version": call.name,
        "serialization": call.of("serialization"),
        "compute": call.board["compute"],
        "detailed": call.given.get("--profilingVerbosity") == "detailed",
        "precisions": sorted(call.precisions()),
        "dynamic": shapes,
        "dla": call.given.get("--useDLACore"),
    }
    plan = MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n" + data
    if call.version >= (8,):
        call.log.info("Engine built in %g sec." % (time.time() - BEGAN))
    if "--saveEngine" in call.given:
        save(call, plan)
    return head, data


def check_parser(call, model):
    newest, ir = call.of("opset"), call.of("ir")
    if model.ir > ir:
        call.log.trt(
            "W",
            "onnx2trt_utils.cpp: ONNX model has a newer ir_version (0.0.%d) than this parser was built against (0.0.%d)."
            % (model.ir, ir),
        )
    since = call.facts["operators"]
    for number, (operator, name, inputs, outputs) in enumerate(model.nodes):
        if operator in call.fail.get("unsupported", ()) or since.get(operator, 0) > newest:
            no_importer(call, number, operator, name, inputs, outputs)
        changed = call.facts["axes_became_an_input"].get(operator, 99)
        if model.opset >= changed > newest and len(inputs) > 1:
            call.log.plain("terminate called after throwing an instance of 'std::out_of_range'")
            call.log.plain("  what():  Attribute not found: axes")
            os.kill(os.getpid(), signal.SIGABRT)


def no_importer(call, number, operator, name, inputs, outputs):
    log, out = call.log, outputs[0]
    log.trt("I", "No importer registered for op: %s. Attempting to import as plugin." % operator)
    log.trt("I", "Searching for plugin: %s, plugin_version: 1, plugin_namespace: " % operator)
    begin = 'While parsing node number %d [%s -> "%s"]:' % (number, operator, out)
    text_ = 'input: "%s"\noutput: "%s"\nname: "%s"\nop_type: "%s"' % (
        inputs[0],
        out,
        name,
        operator,
    )
    why = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
    if call.version < (8,):
        log.line(
            "E",
            "[TRT] INVALID_ARGUMENT: getPluginCreator could not find plugin %s version 1"
            % operator,
        )
        log.plain("%s\n--- Begin node ---\n%s\n--- End node ---" % (begin, text_))
        log.plain(
            "ERROR: builtin_op_importers.cpp:3659 In function importFallbackPluginImporter:\n[8] Assertion failed: "
            + why
        )
    else:
        at = {8: 726, 10: 949}[call.version[0]]
        if call.version >= (10,):
            log.line(
                "E",
                "[TRT] IPluginRegistry::getCreator: Error Code 4: API Usage Error (Cannot find plugin: %s, version: 1, namespace:.)"
                % operator,
            )
        else:
            log.line(
                "E", "[TRT] 3: getPluginCreator could not find plugin: %s version: 1" % operator
            )
        log.line("E", "[TRT] ModelImporter.cpp:%d: %s" % (at, begin))
        log.line("E", "[TRT] ModelImporter.cpp:%d: --- Begin node ---" % (at + 1))
        log.line("E", "[TRT] ModelImporter.cpp:%d: %s" % (at + 2, text_))
        log.line("E", "[TRT] ModelImporter.cpp:%d: --- End node ---" % (at + 3))
        log.line(
            "E",
            "[TRT] ModelImporter.cpp:%d: ERROR: builtin_op_importers.cpp:5428 In function importFallbackPluginImporter:\n[8] Assertion failed: %s"
            % (at + 5, why),
        )
    call.give_up("GaveUpError to parse onnx file", "Parsing model failed")


def build_shapes(call, model):
    """{dynamic input: its shape at run time}."""
    dynamic = {name: sizes for name, sizes in model.inputs if -1 in sizes}
    given = call.shapes("--shapes") or call.shapes("--optShapes")
    if given and not dynamic and call.version >= (8, 4):
        call.give_up(
            "Static model does not take explicit shapes since the shape of inference tensors will be determined by the model itself",
            "Network And Config setup failed",
        )
    return overridden(call, dynamic, given)


def overridden(call, dynamic, given):
    found = {}
    for name, sizes in dynamic.items():
        if name not in given:
            shape = [1 if size == -1 else size for size in sizes]
            call.log.warn(
                "Dynamic dimensions required for input: %s, but no shapes were provided. Automatically overriding shape to: %s"
                % (name, "x".join(map(str, shape)))
            )
        found[name] = given.get(name) or [1 if size == -1 else size for size in sizes]
    return found


def timing_cache(call):
    path = call.given.get("--timingCacheFile")
    if not path:
        if call.version >= (8,):
            call.log.trt(
                "I",
                "Local timing cache in use. Profiling results in this builder pass will not be stored.",
            )
        return
    mine = "stand-in timing cache %s %s\n" % (call.name, call.board["compute"])
    if os.path.exists(path):
        with open(path) as stream:
            if stream.readline() != mine:
                call.log.trt("W", "Detected invalid timing cache, setup a local cache instead")
    call.log.trt(
        "I", "Global timing cache in use. Profiling results in this builder pass will be stored."
    )
    with open(path, "w") as stream:
        stream.write(mine)


def fail_on_demand(call):
    fail, log = call.fail, call.log
    time.sleep(fail.get("build_s", 0))
    for name in fail.get("fallback", ()) if "--useDLACore" in call.given else ():
        said = "Default DLA is enabled but layer %s is not supported on DLA, falling back to GPU."
        log.trt("W", said % name)
    if "--saveEngine" in call.given and "hang_s" in fail:
        with open(call.given["--saveEngine"], "wb") as stream:
            stream.write(MAGIC)  # half an engine
        time.sleep(fail["hang_s"])
    if fail.get("unknown_device"):
        log.trt(
            "E",
            "Error[2]: [utils.cpp::checkMemLimit::380] Error Code 2: Internal Error (Assertion upperBound != 0 failed. Unknown embedded device detected. Please update the table with the entry: {{1794, 6, 16}, 12660},)",
        )
        no_engine(call)
    if fail.get("memory"):
        if call.version < (8,):
            log.trt(
                "E", "../rtSafe/safeRuntime.cpp (25) - Cuda Error in allocate: 2 (out of memory)"
            )
        else:
            log.trt(
                "W",
                "Requested amount of GPU memory (4294967296 bytes) could not be allocated. There may not be enough free memory for allocation to succeed.",
            )
            log.trt(
                "E",
                "Error[2]: [virtualMemoryBuffer.cpp::resizePhysical::140] Error Code 2: OutOfMemory (no further information)",
            )
        no_engine(call)
    for name, number in (("killed", signal.SIGKILL), ("crash", signal.SIGSEGV)):
        if fail.get(name):
            os.kill(os.getpid(), number)


def check_implementations(call):
    wish = call.fail.get("implementation")
    if not wish:
        return
    kept = {
        item.rpartition(":")[0]
        for item in call.given.get("--layerPrecisions", "").split(",")
        if item.endswith(":fp32")
    }
    precise = not call.precisions() & set(wish.get("precisions", ("fp32",)))
    enough = "workspace_mb" in wish and call.workspace_mb() >= wish["workspace_mb"]
    if precise or enough or ("precisions" in wish and kept & set(wish["node"].split(" + "))):
        return
    if "workspace_mb" in wish:
        size = wish["workspace_mb"] << 20
        if call.version < (8, 2):
            call.log.trt(
                "I",
                "Some tactics do not have sufficient workspace memory to run. Increasing workspace size may increase performance, please check verbose output.",
            )
        else:
            call.log.trt(
                "W",
                "Skipping tactic 0 due to insufficient memory on requested size of %d detected for tactic 0."
                % size,
            )
    said = "Could not find any implementation for node %s." % wish["node"]
    if call.version < (8,):
        said = (
            "../builder/tacticOptimizer.cpp (1715) - TRTInternal Error in computeCosts: 0 (%s)"
            % said
        )
    elif call.version < (10,):
        line = {0: 1855, 2: 2011, 4: 3626, 5: 3728, 6: 3869}[call.version[1]]
        said = "Error[10]: [optimizer.cpp::computeCosts::%d] Error Code 10: Internal Error (%s)" % (
            line,
            said,
        )
    else:
        said = (
            "Error[10]: IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (%s)" % said
        )
    call.log.trt("E", said)
    no_engine(call)


def save(call, plan):
    path = call.given["--saveEngine"]
    try:
        with open(path, "wb") as stream:
            stream.write(plan[: len(plan) // 2] if call.fail.get("disk") else plan)
            if call.fail.get("disk"):
                raise OSError
    except OSError:
        if not call.fail.get("disk"):
            call.log.error("Cannot open engine file: %s" % path)
        call.give_up("Saving engine to file failed.")


def no_engine(call):
    if call.version >= (8,):
        call.log.trt(
            "E",
            "Error[2]: [builder.cpp::buildSerializedNetwork::751] Error Code 2: Internal Error (Assertion engine != nullptr failed. )",
        )
    call.give_up("Engine could not be created from network", "Building engine failed")
