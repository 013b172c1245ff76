"""The user's own measure of a network: a Python function that scores it, higher being better.

    # score.py, given as --eval score.py:accuracy
    def accuracy(session):
        logits = session.run({"input": images})["logits"]
        return (logits.argmax(1) == labels).mean()

`session` is an `edgecc.target.Session`: `run` takes and returns arrays by name, `inputs` and
`outputs` tell the names, types and shapes. The file is Python like any other: its folder can be
imported from, it runs with the user's rights, and what it prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import numbers
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgecc.errors import EdgeccError, UsageError, did_you_mean
from edgecc.target import Session

TRACEBACK = "EDGECC_TRACEBACK"


@dataclass(frozen=True)
class Evaluation:
    """A function of the user's, ready to be called."""

    path: Path
    name: str
    function: Callable[[Session], Any]

    @classmethod
    def read(cls, text: str) -> Evaluation:
        """Load `FILE.py:function`. Errors: `edgecc.errors.UsageError`."""
        file, colon, name = text.rpartition(":")
        if not (file and colon and name.isidentifier()):
            raise UsageError(
                f"'{text}' names no function in a file", hint="FILE.py:function, as score.py:top1"
            )
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise UsageError(f"there is no file {file} to evaluate with")
        with _at_home(path), _blamed(path, "cannot be imported"):
            module = _load(path)
        function = getattr(module, name, None)
        if not callable(function):
            own = [n for n, v in vars(module).items() if getattr(v, "__module__", 0) == _NAME]
            known = [n for n in own if callable(vars(module)[n])]
            raise UsageError(
                f"{path.name} has no function '{name}'", hint=did_you_mean(name, known)
            )
        return cls(path, name, function)

    def score(self, session: Session) -> float:
        """Return the user's metric of a network.

        Errors: `edgecc.errors.UsageError` where the function fails or returns no finite number.
        """
        with _at_home(self.path), _blamed(self.path, f"{self.name} failed"):
            found = self.function(session)
        if not isinstance(found, numbers.Real) or isinstance(found, bool):
            raise UsageError(
                f"{self} returned {_kind(found)}, not a number",
                hint="return one float, higher being better; float(...) makes one of an array",
            )
        if not math.isfinite(found):
            raise UsageError(
                f"{self} returned {float(found)}", hint="return a finite number, higher is better"
            )
        return float(found)

    def __str__(self) -> str:
        return f"{self.path.name}:{self.name}"


_NAME = "_edgecc_evaluation"
"""The module's name: no import statement takes it for another."""


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_NAME, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path.name} is no Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module  # dataclasses and pickle look it up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_NAME]
        raise
    return module


@contextlib.contextmanager
def _at_home(path: Path) -> Iterator[None]:
    """Let the file import its neighbours, and send all that is printed to stderr."""
    folder = str(path.parent)
    sys.path.insert(0, folder)
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)  # what libraries in C print, too
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def _blamed(path: Path, what: str) -> Iterator[None]:
    """Tell of a failure in the user's file with its line there."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, EdgeccError) and not isinstance(error, UsageError):
            raise  # a device that went away is no fault of the file
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error, file=sys.stderr)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines.append(error.lineno)
        where = f", line {lines[-1]}" if lines else ""
        told = error.message if isinstance(error, UsageError) else _told(error)
        hint = error.hint if isinstance(error, UsageError) else None
        raise UsageError(
            f"{path.name}: {what}{where}: {told}",
            hint=hint or f"{TRACEBACK}=1 prints the whole traceback",
        ) from error


def _told(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _kind(found: object) -> str:
    """What something is, in words."""
    shape = getattr(found, "shape", None)
    sizes = f" of shape {tuple(shape)}" if shape is not None else ""
    return "None" if found is None else f"a {type(found).__name__}{sizes}"
