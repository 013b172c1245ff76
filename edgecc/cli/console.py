"""How every verb speaks: results on stdout (tables, or JSON alone), all else on stderr."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edgecc.errors import INTERRUPTED, EdgeccError, ModelError

P = ParamSpec("P")
Verb = Callable[P, None]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else there.")]
TRACEBACK = "EDGECC_TRACEBACK"
QUIET_S = 10.0
"""Where nobody watches a bar, what a stage is at is told no more often than this."""


def stdout() -> Console:
    """Return the console for results; as wide as they need where nobody watches."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=160)


def stderr() -> Console:
    """Return the console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def show_json(data: Any) -> None:
    """Print a result as JSON."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def verb(function: Verb[P]) -> Verb[P]:
    """Make a function a verb: its failures become a message and an exit code."""

    @functools.wraps(function)
    def guarded(*args: P.args, **options: P.kwargs) -> None:
        logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
        try:
            function(*args, **options)
        except EdgeccError as error:
            _fail(error, as_json=bool(options.get("as_json")))
        except KeyboardInterrupt as error:  # one that says more where something is kept
            message = f"interrupted; {str(error) or 'nothing was left behind'}"
            stderr().print(f"edgecc: {message}")
            if options.get("as_json"):
                _show_error("Interrupted", message, None, INTERRUPTED)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader of stdout left, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except MemoryError:
            hint = "use a machine with more memory, or smaller inputs with --shape"
            large = ModelError("the model needs more memory than this machine has", hint=hint)
            _fail(large, as_json=bool(options.get("as_json")))
        except (typer.Exit, typer.Abort):
            raise
        except OSError as error:  # a full disk, a folder without permission
            where = f"{error.filename}: " if error.filename else ""
            told = EdgeccError(f"{where}{error.strerror or error}")
            _fail(told, as_json=bool(options.get("as_json")))
        except Exception as error:
            _fail(_internal(error), as_json=bool(options.get("as_json")))

    return guarded


def _internal(error: Exception) -> EdgeccError:
    """An error nobody foresaw: a fault of edgecc, told without a traceback unless asked for."""
    if os.environ.get(TRACEBACK):
        traceback.print_exc(file=sys.stderr)
    text = " ".join(str(error).split())[:300]
    return EdgeccError(
        f"internal error: {type(error).__name__}: {text}",
        hint=f"this is a fault of edgecc; report it with what {TRACEBACK}=1 prints",
    )


def _fail(error: EdgeccError, *, as_json: bool) -> None:
    """Tell of a failure and leave with its exit code."""
    stderr().print(f"edgecc: {error}")
    if as_json:
        _show_error(type(error).__name__, error.message, error.hint, error.exit_code)
    raise typer.Exit(error.exit_code)


def _show_error(kind: str, message: str, hint: str | None, exit_code: int) -> None:
    """Print why there is no result, as JSON."""
    told = {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code}
    show_json({"error": told})


class Interruption:
    """Whether the user asked to stop: some libraries swallow the exception that says so."""

    seen = False


class StageProgress:
    """A bar over the stages of a job on a terminal; a plain line for each elsewhere."""

    def __init__(self, title: str, stages: tuple[str, ...]) -> None:
        self._console = stderr()
        self._title, self._stages = title, stages
        self._bar: Progress | None = None
        self._told_s = 0.0

    def __enter__(self) -> StageProgress:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[stage]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._title, total=len(self._stages), stage="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str) -> None:
        """Tell that a stage begins, or with "stage: detail" what it is at."""
        if Interruption.seen:
            raise KeyboardInterrupt
        name, _, detail = stage.partition(": ")
        if self._bar is not None:
            done = self._stages.index(name) if name in self._stages else 0
            self._bar.update(self._task, completed=done, stage=stage)
        elif not detail or time.monotonic() - self._told_s > QUIET_S:
            self._told_s = time.monotonic()
            self._console.print(f"{self._title}: {stage}")
