"""`edgecc-device build`: the engine of a bundle, by the part for TensorRT."""

import signal
import sys

from edgecc.device.agent import identify, runners


def build(words, folder):
    """Build the engine of the bundle that `words` name, or that of `folder`; return the exit code.

    A signal ends it as Ctrl-C does: the cache is as it was. Raises SessionError where the part for
    TensorRT was not packed.
    """
    command = runners.tensorrt("command")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    return command.main_build(words, identify.identify, folder, sys.stdout, sys.stderr)
