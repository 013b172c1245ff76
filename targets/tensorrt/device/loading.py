"""What keeps a built engine from running as its bundle means it to."""

from targets.tensorrt.device import messages
from targets.tensorrt.device.errors import BUILD, DEVICE, BoardError


def unloadable(why, version, done):
    """Return the failure of an engine that trtexec does not run, `why` being its cause."""
    errors = messages.errors(done.text)
    said = "; trtexec says: " + " / ".join(errors) if errors else ""
    known = {
        "version": "the engine was built by another TensorRT than this board's " + version,
        "device": "the engine was built on another GPU than this board's",
        "memory": "the board has too little memory left to run the engine",
        "killed": "the system killed the run; as a rule it was out of memory",
        "shapes": "trtexec took sizes of its own for the model's dynamic inputs",
    }
    code = DEVICE if why[0] in ("version", "device") else BUILD
    return BoardError(
        code,
        known.get(why[0], "TensorRT {} does not run the engine".format(version)) + said,
        "build it again on this board: edgecc-device build --fresh",
    )


def check_shapes(bound, wanted):
    """Errors: `BoardError` where an input was bound at another shape than `wanted` has for it."""
    for name, shape in bound.items():
        if name in wanted and wanted[name] != shape:
            raise BoardError(
                BUILD,
                "trtexec ran the input {} at {}, the bundle's is {}".format(
                    name, "x".join(map(str, shape)), "x".join(map(str, wanted[name]))
                ),
                "build the bundle with fixed shapes: edgecc build --shape NAME:1,3,224,224",
            )
