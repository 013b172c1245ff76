"""Why a build failed where no other attempt can help, and what does."""

from targets.tensorrt.device.errors import BUILD, DEVICE, BoardError

_FREE_MEMORY = (
    "end what else runs on the board (the desktop takes 1 GB: sudo systemctl isolate multi-user), "
    "or add swap"
)
_BUILD_FOR_IT = "build the bundle for this release: edgecc build --tensorrt {version}"
_SAYINGS = {
    "board": (
        'TensorRT {version} does not know this board ("Unknown embedded device detected")',
        "only another JetPack helps: 8.2.1 of JetPack 4.6.1 and 4.6.2 knows no Xavier NX 16GB, "
        "8.5.2 of JetPack 5.1 does",
    ),
    "option": (
        "trtexec of TensorRT {version} does not know the option {what}",
        "is it the trtexec of this TensorRT? see edgecc-device identify",
    ),
    "shapes": (
        "the model has dynamic inputs, and trtexec took {what} for one",
        "build the bundle with fixed shapes: edgecc build --shape NAME:1,3,224,224",
    ),
    "disk": (
        "there is no space left for the engine",
        "free some: edgecc-device build --gc 0, or set XDG_CACHE_HOME to another disk",
    ),
    "memory": ("the build ran out of memory with {workspace_mb} MiB of workspace", _FREE_MEMORY),
    "killed": (
        "the system killed the build; as a rule it was out of memory (see dmesg)",
        _FREE_MEMORY,
    ),
    "operator": ("TensorRT {version} lacks the operator {what}{node}", _BUILD_FOR_IT),
    "parser": ("TensorRT {version} cannot read the model{node}", _BUILD_FOR_IT),
    "calibration": ("TensorRT {version} does not take the bundle's calibration", _BUILD_FOR_IT),
    "crash": (
        "trtexec of TensorRT {version} crashed (signal {what})",
        "its log is kept; try another precision: edgecc build --precision fp32",
    ),
    "unknown": ("trtexec of TensorRT {version} failed", "its log tells more"),
}
"""Message and hint for each kind of cause (`messages.cause`)."""


def fatal(cause, version, workspace_mb):
    """Return the error for a `cause` that another attempt cannot mend."""
    kind, what, node = cause
    facts = {
        "version": version,
        "what": what or "of a node",
        "node": " (node {})".format(node) if node else "",
        "workspace_mb": workspace_mb,
    }
    message, hint = _SAYINGS.get(kind, _SAYINGS["unknown"])
    code = DEVICE if kind == "board" else BUILD
    return BoardError(code, message.format(**facts), hint.format(**facts))
