"""`edgecc-device`: the commands of the agent. JSON alone goes to stdout."""

import argparse
import json
import os
import sys

from edgecc.device.agent import events, identify, journal, state

INTERRUPTED = 130


def main(words=None):
    """Run a command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="edgecc-device", description="What edgecc does on the device."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    commands.add_parser("identify", help="what this device is, as JSON")
    commands.add_parser("state", help="its mode, clocks and temperatures, as JSON")
    back = commands.add_parser("restore", help="put back what a dead session left changed")
    back.add_argument("--forget", action="store_true", help="drop it instead")
    build = commands.add_parser("build", help="build the engine of a bundle")
    build.add_argument("folder", nargs="?", help="by default the one that this file lies in")
    build.add_argument("--fresh", action="store_true", help="build it though the cache has it")
    build.add_argument("--limit", type=float, metavar="SECONDS", help="end it after so long")
    build.add_argument("--list", action="store_true", help="the engines in the cache")
    build.add_argument("--gc", type=float, metavar="MB", help="keep at most so much of the cache")
    measure = commands.add_parser("measure", help="measure bundles, interleaved")
    measure.add_argument("job", nargs="*", help="a job (JSON; - is stdin), or folders of bundles")
    measure.add_argument("--tied", action="store_true", help="end when stdin ends")
    arguments = parser.parse_args(words)
    try:
        return COMMANDS[arguments.command](arguments)
    except events.SessionError as fault:
        return report(fault)
    except KeyboardInterrupt:
        return INTERRUPTED


def report(fault):
    """Tell an error to whoever reads, and return its exit code."""
    sys.stderr.write("edgecc-device: {}\n".format(fault.message))
    if fault.hint:
        sys.stderr.write("  hint: {}\n".format(fault.hint))
    return fault.code


def tell(text):
    """Say something to a person."""
    sys.stderr.write(text + "\n")


def put_back():
    """Put back what a dead session left, where no session runs."""
    try:
        lock = journal.Lock()
    except events.SessionError as fault:
        return tell(fault.message)
    try:
        if lock.take():
            done = journal.restore_left()
            if done:
                tell("put back what an earlier session left: " + json.dumps(done))
    finally:
        lock.leave()


def print_identity(arguments):
    """`identify`."""
    put_back()
    print(json.dumps(identify.identify(), sort_keys=True))
    return 0


def print_state(arguments):
    """`state`."""
    put_back()
    print(json.dumps(state.state(), sort_keys=True))
    return 0


def restore(arguments):
    """`restore`."""
    if arguments.forget:
        journal.forget()
    lock, done = journal.begin()
    lock.leave()
    print(json.dumps(done or {"restored": [], "failed": []}, sort_keys=True))
    return 0


def own_folder():
    """Return the bundle that this file lies in."""
    return os.path.dirname(os.path.abspath(sys.argv[0]))


def build(arguments):
    """`build`."""
    from edgecc.device.agent import building

    put_back()
    arguments.folder = os.path.abspath(arguments.folder or own_folder())
    return building.build(arguments)


def measure(arguments):
    """`measure`."""
    from edgecc.device.agent import measuring

    return measuring.measure(arguments.job or [own_folder()], arguments.tied)


COMMANDS = {
    "identify": print_identity,
    "state": print_state,
    "restore": restore,
    "build": build,
    "measure": measure,
}
