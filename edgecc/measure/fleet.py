"""The same measurement on many boards at once, each busy with one at a time.

The boards are workers of Dask's `distributed`: here one thread each in a cluster of this process;
or, with the address of a scheduler, workers that somebody started, each named as its board in
devices.toml and with the resource "target NAME". A board that drops out loses its job to another
of its kind.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecc.device.connect import Device
from edgecc.errors import DeviceError, EdgeccError, UsageError
from edgecc.measure.bench import Wish, measure
from edgecc.measure.candidates import Entrants
from edgecc.measure.trace import Trace
from edgecc.target import Tell

ALL = "all"
START_S = 30


@dataclass(frozen=True)
class Loss:
    """A board that dropped out, and why."""

    board: str
    why: str

    def __str__(self) -> str:
        return f"{self.board} dropped out: {self.why}"


@dataclass
class Fleet:
    """What came back from the boards."""

    traces: list[tuple[str, Trace]] = field(default_factory=list)
    """By board, in the order in which they were done."""
    losses: list[Loss] = field(default_factory=list)


def chosen(asked: str, known: Mapping[str, Device], target: str) -> list[str]:
    """Return the boards that a user means: `all` of a target, or those named, comma between.

    Errors: `edgecc.errors.UsageError` for unknown boards, for those of another target, for none.
    """
    if asked == ALL:
        found = [name for name, device in known.items() if device.target == target]
    else:
        found = list(dict.fromkeys(filter(None, map(str.strip, asked.split(",")))))
    for name in found:
        if name not in known:
            raise UsageError(
                f"there is no device '{name}' in devices.toml",
                hint=f"it has {', '.join(known) or 'none'}",
            )
        if known[name].target not in (None, target):
            raise UsageError(
                f"{name} is a {known[name].target}, and the bundle is for {target}",
                hint="build a bundle for it",
            )
    if not found:
        raise UsageError(
            f'devices.toml has no device with target = "{target}"',
            hint="add one, or name them: --devices a,b",
        )
    return found


def on_each(
    boards: Sequence[str],
    found: Entrants,
    home: Path,
    wish: Wish,
    *,
    tell: Tell = lambda text: None,
    scheduler: str | None = None,
) -> Fleet:
    """Measure the bundles once for each board; a lost board's turn goes to one that is left.

    Errors: `edgecc.errors.UsageError` without `distributed`, `edgecc.errors.DeviceError` where no
    board is left.
    """
    fleet = Fleet()
    with _client(boards, scheduler) as client:
        import distributed

        as_completed: Any = distributed.as_completed

        def give(board: str) -> Any:
            return client.submit(
                _turn, board, found, home, wish, workers=[board], pure=False, retries=0
            )

        at_work = {give(board): board for board in boards}
        alive = list(boards)
        queue = as_completed(list(at_work))
        for future in queue:
            board = at_work.pop(future)
            result = _result(future)
            if isinstance(result, Trace):
                fleet.traces.append((board, result))
                tell(f"{board} is done")
                continue
            fleet.losses.append(Loss(board, result.message))
            alive = [name for name in alive if name != board]
            if not alive:
                raise DeviceError(
                    f"no board is left: {'; '.join(map(str, fleet.losses))}",
                    hint="see to the boards; what they recorded is kept in the bundle's trace",
                )
            next_board = _least_busy(alive, list(at_work.values()))
            tell(f"{fleet.losses[-1]}; {next_board} takes its turn")
            again = give(next_board)
            at_work[again] = next_board
            queue.add(again)
    return fleet


def _turn(board: str, found: Entrants, home: Path, wish: Wish) -> Trace:
    """What a worker does: one measurement on its board."""
    return measure(found, home, board, wish, lambda text: None)


def _result(future: Any) -> Trace | EdgeccError:
    """A worker's trace, or why there is none. What is no fault of the board is raised."""
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker, NoValidWorkerError

    try:
        trace: Trace = future.result()
    except DeviceError as error:
        return error
    except (KilledWorker, CancelledError, NoValidWorkerError, OSError) as error:
        return DeviceError(f"its worker is gone: {error}")
    return trace


def _least_busy(alive: Sequence[str], busy: Sequence[str]) -> str:
    return min(alive, key=lambda name: (busy.count(name), alive.index(name)))


@contextlib.contextmanager
def _client(boards: Sequence[str], scheduler: str | None) -> Iterator[Any]:
    """A scheduler with one worker for each board, each with one thread."""
    try:
        import distributed
    except ImportError:
        raise UsageError(
            "--devices takes Dask's distributed, which is not installed",
            hint="pip install 'edgecc[fleet]'",
        ) from None
    dask: Any = distributed  # most of it has no types
    if scheduler is not None:
        with dask.Client(scheduler, timeout=START_S) as client:
            yield client
        return
    with tempfile.TemporaryDirectory(prefix="edgecc-fleet-") as scratch:
        quiet = {"dashboard": False, "protocol": "inproc://"}
        own = {"nthreads": 1, "dashboard": False, "local_directory": scratch}
        workers = {
            board: {"cls": dask.Worker, "options": {**own, "name": board}} for board in boards
        }
        options = {**quiet, "dashboard_address": None, "port": 0}
        with (
            dask.SpecCluster(
                workers=workers,
                scheduler={"cls": dask.Scheduler, "options": options},
                asynchronous=False,
                silence_logs=50,
            ) as cluster,
            dask.Client(cluster, timeout=START_S) as client,
        ):
            yield client
