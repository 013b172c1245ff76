"""`edgecc-device build`: the engine of a bundle, as events."""

import signal
import sys

from edgecc.device.agent import identify, runners
from edgecc.device.agent.events import Events, SessionError
from edgecc.device.agent.measuring import INTERRUPTED, Interrupted, interrupt


def build(arguments):
    """Build the engine of the bundle in a folder; return the exit code.

    `arguments` are those of `targets.tensorrt.device.command.main_build`.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)

    def board():
        identity = identify.identify()
        runners.read_bundle(arguments.folder, identity)
        return identity

    events = Events(sys.stdout.fileno())
    try:
        return runners.tensorrt("command").main_build(arguments, board)
    except SessionError as fault:
        events.emit("error", **fault.to_json())
        return fault.code
    except Interrupted as interrupted:
        events.emit("error", code=INTERRUPTED, message=str(interrupted), hint=None)
        return INTERRUPTED
    except OSError as error:
        events.emit("error", code=4, message="the device failed: {}".format(error), hint=None)
        return 4
