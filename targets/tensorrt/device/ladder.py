"""What to try after a build that failed: one step at a time, each with its reason.

More workspace first: it costs nothing. Then the one layer that has no implementation is kept in
FP32, where the release has `--layerPrecisions` (8.4): it costs one layer's speed. A lower
precision of the whole network comes last: int8 to fp16 to fp32.
"""

from targets.tensorrt.device import options, profile
from targets.tensorrt.device.errors import BUILD, BoardError
from targets.tensorrt.device.fatal import fatal

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
    kind, what, _ = failed
    if kind != "implementation":
        raise fatal(failed, version, attempt["workspace_mb"])
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
        "leave it as it was: take it out of plan.json, then edgecc build --plan plan.json",
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
