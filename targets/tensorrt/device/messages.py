"""What trtexec's log means: why a build failed, what to be wary of, how far it is."""

import re

from targets.tensorrt.device.summary import message

_TRAP = r"Automatically overriding shape to: ?(?P<what>\S*)"
"""Sizes that trtexec takes for dynamic inputs that it was given none for: 1."""
_CAUSES = (
    ("board", r"Unknown embedded device detected"),
    ("option", r"Unknown option: (?P<what>.+)"),
    ("version", r"not compatible with this version of TensorRT|Version tag does not match"),
    ("device", r"generated on an incompatible device"),
    ("shapes", _TRAP),
    ("disk", r"No space left on device|Saving engine to file failed|Cannot open engine file"),
    ("implementation", r"Could not find any implementation for node (?P<what>.+?)\.\s*(?:\)|$)"),
    (
        "memory",
        r"[Oo]ut of memory|OutOfMemory|std::bad_alloc|Requested amount of GPU memory"
        r"|Cannot allocate memory",
    ),
    (
        "operator",
        r"No importer registered for op: (?P<what>\w+)|Plugin not found"
        r"|In node \d+ with name: .* and operator: (?P<other>\w+)",
    ),
    (
        "parser",
        r"Failed to parse onnx file|Parsing model failed|ModelImporter\.cpp|Attribute not found",
    ),
    ("calibration", r"Calibration failure|[Cc]alibration (?:cache|table).*(?:invalid|mismatch)"),
)
"""Causes, the most telling first, and what they are recognised by."""
_FALLBACK = r"layer (?P<value>.+?) is not supported on DLA"
_WARNINGS = {
    "enqueue": r"Throughput may be bound by Enqueue Time",
    "transfers": r"Throughput may be bound by (?:host-to-device|device-to-host) transfers",
    "unstable": r"GPU compute time is unstable, with coefficient of variance = (?P<value>[\d.]+)%",
    "workspace": r"Some tactics do not have sufficient workspace memory",
    "tactic_memory": r"Device memory is insufficient to use tactic|Skipping tactic .*insuffi?cient",
    "int64": r"generated with INT64 weights",
    "dummy_ranges": r"Calibrator is not being used",
    "no_int8": r"Int8 support requested on hardware without native Int8 support",
    "no_fp16": r"Half2 support requested on hardware without native FP16 support",
    "fallback": _FALLBACK,
    "timing_cache": r"Detected invalid timing cache",
}
_NOTES = {
    "dummy_ranges": "int8 without calibration: the times hold, the outputs do not (made-up ranges)",
    "no_int8": "this GPU has no int8 of its own: fp16 is faster",
    "no_fp16": "this GPU has no fp16 of its own: fp32 is as fast",
    "fallback": "some layers run on the GPU: DLA does not take them",
    "enqueue": "the CPU is slower in launching kernels than the GPU in running them",
}
_STAGES = (
    (r"Start parsing network model", "reading the model"),
    (r"Finish(?:ed)? parsing network model", "optimising the graph"),
    (r"timing cache in use|Graph optimization time", "timing kernels"),
    (r"Detected \d+ inputs? and \d+ output network tensors", "putting the engine together"),
    (r"Engine built in|Total Activation Memory", "writing the engine"),
)
_NOISE = re.compile(
    r"^(?:Engine (?:set up|creation|deserialization) failed|Building engine failed"
    r"|Got invalid engine!|Inference set up failed|Failed to create engine.*|)$"
)
"""What only says that something before it failed."""


def cause(text, returncode):
    """Return why trtexec ended as it did: (kind, what, node), or None for a success.

    Kinds: those of `_CAUSES`, "killed" (by a signal: -9, or 137 of a shell), "crash" (another
    signal), "unknown". `what` is what the message names, and None otherwise; so is `node`.
    """
    trap = _search(_TRAP, text)
    if returncode == 0:
        return ("shapes", trap.group("what"), None) if trap else None
    for kind, pattern in _CAUSES:
        found = _search(pattern, text)
        if found:
            groups = found.groupdict()
            what = groups.get("what") or groups.get("other")
            return kind, what and what.strip(), _parsed_node(text)
    if returncode in (-9, 137):
        return "killed", None, None
    if returncode < 0 or returncode > 128:
        return "crash", str(-returncode if returncode < 0 else returncode - 128), None
    return "unknown", None, None


def _search(pattern, text):
    return re.search(pattern, text, re.M)


def _parsed_node(text):
    found = _search(r"While parsing node number \d+ \[(\w+)(?: -> \"(.*?)\")?\]", text)
    return " ".join(part for part in found.groups() if part) if found else None


def errors(text, most=3):
    """Return the first lines that trtexec marks as errors, without their marks: the cause."""
    found = []
    for line in text.splitlines():
        if re.search(r"\[(?:E|F)\]", line):
            said = message(line)
            if not _NOISE.match(said):
                found.append(said)
    return found[:most]


def warnings(text):
    """Return what the log warns of: {kind: value or None}, each kind once."""
    found = {}
    for kind, pattern in _WARNINGS.items():
        match = _search(pattern, text)
        if match:
            found[kind] = match.groupdict().get("value")
    return found


def fallbacks(text):
    """Return the layers that DLA does not take, which run on the GPU, in the log's order."""
    names = re.findall(_FALLBACK, text)
    return sorted(set(names), key=names.index)


def notes(found):
    """Return what a person must know of the warnings `found`, in sentences."""
    return [text for kind, text in _NOTES.items() if kind in found]


def stage(line):
    """Return the stage of a build that begins with this line of the log, in words, or None."""
    for pattern, words in _STAGES:
        if re.search(pattern, line):
            return words
    return None


def engine_built_s(text):
    """Return the seconds that trtexec says the build took, or None."""
    found = _search(r"Engine built in ([\d.]+) sec", text)
    return float(found.group(1)) if found else None
