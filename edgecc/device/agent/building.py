"""`edgecc-device build`: the engine of a bundle, as events."""

import signal
import sys

from edgecc.device.agent import identify, runners
from edgecc.device.agent.events import Events, SessionError
from edgecc.device.agent.measuring import INTERRUPTED, Interrupted, interrupt


def build(folder):
    """Build the engine of the bundle in a folder; return the exit code."""
    events = Events(sys.stdout.fileno())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        identity = identify.identify()
        runners.read_bundle(folder, identity)
        engine, errors = runners.tensorrt("engine"), runners.tensorrt("errors")
        try:
            engine.build(folder, identity, lambda event: events.emit(**event))
        except errors.BoardError as fault:
            raise SessionError(fault.code, fault.message, fault.hint) from None
    except SessionError as fault:
        events.emit("error", **fault.to_json())
        return fault.code
    except Interrupted as interrupted:
        events.emit("error", code=INTERRUPTED, message=str(interrupted), hint=None)
        return INTERRUPTED
    except OSError as error:
        events.emit("error", code=4, message="the device failed: {}".format(error), hint=None)
        return 4
    return 0
