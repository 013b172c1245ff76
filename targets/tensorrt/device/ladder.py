"""What to try after a build that failed: one step at a time, each with its reason.

More workspace first: it costs nothing. Then the one layer that has no implementation is kept in
FP32, where the release has `--layerPrecisions` (8.4): it costs one layer's speed. A lower
precision of the whole network comes last: int8 to fp16 to fp32.
"""

from targets.tensorrt.device import options, profile
from targets.tensorrt.device.errors import BUILD, DEVICE, BoardError

LOWER = {"best": "fp16", "int8": "fp16", "fp16": "fp32"}
FIRST_MB, MOST_MB, LEAST_MB = 1024, 8192, 16


def first(recipe, memory_mb):
    """Return the first attempt at `recipe` (see `options.build`), with the reason as `why`."""
    return {
        "precision": recipe["precision"],
        "workspace_mb": min(FIRST_MB, _share(memory_mb, 4)),
        "layers_fp32": list(recipe["layers_fp32"]),
        "dla": recipe["dla"],
        "why": "as asked",
    }


def _share(memory_mb, part):
    return max((memory_mb or 4 * FIRST_MB) // part, LEAST_MB)


def following(attempt, failed, version, memory_mb):
    """Return the attempt after `attempt`, which `failed`: (kind, what, node) of `messages.cause`.

    Errors: `BoardError` where no step of the ladder can help, with what can.
    """
    kind, what, node = failed
    if kind != "implementation":
        raise _hopeless(kind, what, node, attempt, version)
    most = min(MOST_MB, _share(memory_mb, 2))
    reason = "no implementation for {}".format(what)
    if attempt["workspace_mb"] < most:
        why = "{} within {} MiB of workspace: {} MiB".format(reason, attempt["workspace_mb"], most)
        return dict(attempt, workspace_mb=most, why=why)
    kept = _excluded(attempt, what, version)
    if kept:
        why = "{} in {}: kept in fp32".format(reason, attempt["precision"])
        return dict(attempt, layers_fp32=kept, why=why)
    lower = LOWER.get(attempt["precision"])
    if lower and not (lower == "fp32" and attempt["dla"] is not None):  # DLA computes no fp32
        why = "{} in {}: the whole network in {}".format(reason, attempt["precision"], lower)
        return dict(attempt, precision=lower, why=why)
    raise BoardError(
        BUILD,
        "TensorRT {} has no implementation for {}, in {} neither".format(
            version, what, attempt["precision"]
        ),
        "leave this convolution as it was: edgecc build --exclude '{}'".format(
            " ".join(profile.parts(what or "")) or what
        ),
    )


def _excluded(attempt, what, version):
    """Return the layers to keep in fp32 with those of `what`, or None where that is no step.

    One layer is excluded, not two: after that it is the precision that does not work out.
    """
    if attempt["precision"] == "fp32" or not options.has(version, "--layerPrecisions"):
        return None
    if "kept in fp32" in attempt["why"] or not what or "ForeignNode" in what:
        return None
    names = [name for name in profile.parts(what) if not set(name) & set(",:()[]")]
    kept = attempt["layers_fp32"] + [n for n in names if n not in attempt["layers_fp32"]]
    return kept if len(kept) > len(attempt["layers_fp32"]) else None


def _hopeless(kind, what, node, attempt, version):
    """Return the failure of what another attempt cannot mend."""
    trt = "TensorRT {}".format(version)
    of_node = " (node {})".format(node) if node else ""
    code, text, hint = {
        "board": (
            DEVICE,
            '{} does not know this board ("Unknown embedded device detected")'.format(trt),
            "only another JetPack helps: 8.2.1 of JetPack 4.6.1 and 4.6.2 knows no Xavier NX 16GB, "
            "8.5.2 of JetPack 5.1 does",
        ),
        "option": (
            BUILD,
            "trtexec of {} does not know the option {}".format(trt, what),
            "is it the trtexec of this TensorRT? see edgecc-device identify",
        ),
        "shapes": (
            BUILD,
            "the model has dynamic inputs, and trtexec took {} for one".format(what),
            "build the bundle with fixed shapes: edgecc build --shape NAME=1x3x224x224",
        ),
        "disk": (
            BUILD,
            "there is no space left for the engine",
            "free some: edgecc-device build --gc, or set XDG_CACHE_HOME to another disk",
        ),
        "memory": (
            BUILD,
            "the build ran out of memory with {} MiB of workspace".format(attempt["workspace_mb"]),
            "end what else runs on the board (the desktop takes 1 GB: sudo systemctl isolate "
            "multi-user), or add swap",
        ),
        "killed": (
            BUILD,
            "the system killed the build; as a rule it was out of memory (see dmesg)",
            "end what else runs on the board (the desktop takes 1 GB: sudo systemctl isolate "
            "multi-user), or add swap",
        ),
        "operator": (
            BUILD,
            "{} has no operator {}{}".format(trt, what or "for a node of the model", of_node),
            "build the bundle for this release: edgecc build --tensorrt {}".format(version),
        ),
        "parser": (
            BUILD,
            "{} cannot read the model{}".format(trt, of_node),
            "build the bundle for this release: edgecc build --tensorrt {}".format(version),
        ),
        "calibration": (
            BUILD,
            "{} does not take the bundle's calibration".format(trt),
            "build the bundle for this release: edgecc build --tensorrt {}".format(version),
        ),
        "crash": (
            BUILD,
            "trtexec of {} crashed (signal {})".format(trt, what),
            "its log is kept; try another precision: edgecc build --precision fp32",
        ),
    }.get(
        kind,
        (BUILD, "trtexec of {} failed".format(trt), "its log, kept beside the record, tells more"),
    )
    return BoardError(code, text, hint)
