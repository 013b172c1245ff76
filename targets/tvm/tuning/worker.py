"""The tuner's own process: builds one way to compute a function, and measures it on the device.

It is started as `python -m targets.tvm.tuning.worker FOLDER`, reads a line of JSON for each
question and answers with one. Whatever crashes in it, or on the device, is not the build.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TextIO

from edgecc.errors import BuildError, EdgeccError
from edgecc.target import Core, Target
from targets.tvm.compile import link
from targets.tvm.core import core_of
from targets.tvm.frontend import quiet
from targets.tvm.schedules.choose import scheduled
from targets.tvm.toolchain import llvm_target
from targets.tvm.tuning.address import Address
from targets.tvm.tuning.device import Device, free_port, words
from targets.tvm.tuning.space import Choice, with_choice


class Worker:
    """The functions of a network, and the device to measure them on."""

    def __init__(self, folder: Path, functions: Any, target: Target, device: Device) -> None:
        self.folder, self.functions, self.target, self.device = folder, functions, target, device
        self.core: Core = core_of(target)

    def measure(self, name: str, choice: Choice) -> dict[str, Any]:
        """Return the microseconds of `choice` and of our own one, why it `failed`, or why the
        device is `lost`."""
        function = self.functions[name]
        try:
            own = self._library(name, function)
            other = self._library("candidate", with_choice(function, self.core, choice))
        except Exception as error:  # TVM raises whatever its C++ ran into
            return {"failed": words(error)}
        if own is None or other is None:
            return {"failed": "no schedule"}
        shapes = [
            (str(operand.ty.dtype), [int(size) for size in operand.ty.shape])
            for operand in function.params
        ]
        try:
            own_us, us = self.device.compare([own, other], shapes)
        except BuildError as error:
            return {"failed": error.message}
        except Exception as error:  # as above
            return {"lost": words(error)}
        return {"us": round(us, 3), "own_us": round(own_us, 3)}

    def _library(self, name: str, function: Any) -> Path | None:
        import tvm

        path = self.folder / f"{name}.so"
        if name != "candidate" and path.exists():
            return path
        loops = scheduled(function, self.core)
        if loops is None:
            return None
        module = tvm.IRModule({"main": loops.with_attr("global_symbol", "main")})
        built = tvm.tirx.build(module, target=tvm.target.Target(llvm_target(self.target)))
        link(built, self.target, path, self.folder)
        return path


def main(folder: Path, questions: TextIO, answers: TextIO) -> None:
    """Answer until `questions` end."""

    def say(**told: Any) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    try:
        worker, identity = _ready(folder)
    except Exception as error:
        hint = error.hint if isinstance(error, EdgeccError) else None
        message = error.message if isinstance(error, EdgeccError) else words(error)
        say(refused=message, hint=hint)
        return
    say(device=identity)
    for line in questions:
        asked = json.loads(line)
        choice = Choice(tuple(asked["tile"]), asked["chunk"])
        with quiet():
            say(**worker.measure(asked["function"], choice))


def _ready(folder: Path) -> tuple[Worker, dict[str, str]]:
    import tvm

    asked = json.loads((folder / "asked.json").read_text())
    target = Target(**asked["target"])
    functions = {
        str(variable.name_hint): function
        for variable, function in tvm.ir.load_json(
            (folder / "functions.json").read_text()
        ).functions_items()
    }
    address = Address(asked["host"], asked["port"])
    if address.is_local:
        address = _own_server()
    device = Device(address, target, folder)
    return Worker(folder, functions, target, device), device.identity()


def _own_server() -> Address:
    """Start a server on this machine, which ends with this process."""
    port = free_port()
    command = [sys.executable, "-m", "targets.tvm.tuning.server", str(port)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    return Address("127.0.0.1", port)


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "w")  # TVM and what it calls print to the other
    os.dup2(2, 1)
    main(Path(sys.argv[1]), sys.stdin, own)
