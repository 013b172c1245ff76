"""The tuner's process as the build sees it: questions and answers, each within its time."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from edgecc.errors import DeviceError
from edgecc.target import Target
from targets.tvm.tuning.address import Address
from targets.tvm.tuning.space import Choice

START_S = 120.0
"""To load TVM, compile a first program (zig takes its time once), and reach the device."""
CANDIDATE_S = 60.0


class LostError(Exception):
    """The process or the device crashed or went silent; the question stays unanswered."""


class Tuner:
    """A process that measures `functions` (an `IRModule`) on the device at `address`.

    Errors: `DeviceError` where it is not the target's device, or does not answer; then and at the
    end the process is gone.
    """

    def __init__(self, functions: Any, target: Target, address: Address) -> None:
        import tvm

        self._temporary = tempfile.TemporaryDirectory(prefix="edgecc-tuning-")
        folder = Path(self._temporary.name)
        asked = {"target": target.model_dump(), "host": address.host, "port": address.port}
        (folder / "asked.json").write_text(json.dumps(asked))
        (folder / "functions.json").write_text(tvm.ir.save_json(functions))
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "targets.tvm.tuning.worker", str(folder)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        try:
            hello = self._answer(START_S)
        except LostError as error:
            self.close()
            raise DeviceError(f"tuning at {address} does not begin: {error}") from None
        except BaseException:
            self.close()
            raise
        if "refused" in hello:
            self.close()
            raise DeviceError(hello["refused"], hint=hello["hint"])
        self.device: dict[str, str] = hello["device"]

    def measure(self, function: str, choice: Choice) -> dict[str, Any]:
        """Return `us` and `own_us`, or why it `failed`. Errors: `LostError`."""
        question = {"function": function, "tile": choice.tile, "chunk": choice.chunk}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise LostError(self._last_words()) from None
        answer = self._answer(CANDIDATE_S)
        if "lost" in answer:
            raise LostError(answer["lost"])
        return answer

    def _listen(self, stream: TextIO) -> None:
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in stream:
                self._answers.put(line)
        self._answers.put("")

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise LostError(f"no answer within {seconds:g} s") from None
        if not line:
            raise LostError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"its process ended with {how}" + (f": {lines[-1][:300]}" if lines else "")

    def close(self) -> None:
        """End the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._temporary.cleanup()

    def __enter__(self) -> Tuner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
