"""Measures the choices of a network's functions until the budget is spent."""

from __future__ import annotations

from edgecc.errors import DeviceError
from edgecc.target import Target
from targets.tvm.tuning.process import LostError, Tuner
from targets.tvm.tuning.records import Database, Record
from targets.tvm.tuning.space import Choice
from targets.tvm.tuning.tasks import Task
from targets.tvm.tuning.wish import Wish

MOST_LOST = 3
"""So many choices in a row may crash or hang, before the device is left alone."""


def measure(tasks: list[Task], target: Target, wish: Wish, database: Database) -> str | None:
    """Measure as many choices as `wish` allows; return why it ended early, if it did.

    A choice that crashes or hangs is kept as failed once the tuner, started again, reaches the
    device. Errors: `DeviceError` where it does not reach the device at first.
    """
    bench = _Bench(tasks, target, wish)
    spent, lost = sum(task.trials(database) for task in tasks), 0
    try:
        while spent < wish.trials:
            urgent = sorted(tasks, key=lambda task: -task.urgency(database))
            task = next((task for task in urgent if task.untried(database)), None)
            choice = task.untried(database) if task else None
            if task is None or choice is None:
                return None
            try:
                record = bench.measure(task, choice)
                lost = 0
            except LostError as error:
                lost += 1
                record = Record(task.key, choice, bench.told, failed=str(error))
                if lost < MOST_LOST and not bench.starts_again():
                    lost = MOST_LOST
                if lost == MOST_LOST:
                    return (
                        f"tuning ended early, after {spent} of {wish.trials} trials: the device "
                        f"crashed or is gone ({error})"
                    )
            database.add(record)
            spent += 1
            wish.tell(_progress(tasks, database, spent, wish.trials))
    finally:
        bench.close()
    return None


class _Bench:
    """The tuner's process, begun with the first measurement."""

    def __init__(self, tasks: list[Task], target: Target, wish: Wish) -> None:
        self._tasks, self._target, self._wish = tasks, target, wish
        self._tuner: Tuner | None = None
        self.told = ""

    def measure(self, task: Task, choice: Choice) -> Record:
        """Measure one choice. Errors: `LostError`, `DeviceError`."""
        tuner = self._tuner or self._start()
        return Record(task.key, choice, self.told, **tuner.measure(task.key, choice))

    def starts_again(self) -> bool:
        """Start the process again; return whether it reaches the device."""
        self.close()
        try:
            self._start()
        except DeviceError:
            return False
        return True

    def _start(self) -> Tuner:
        import tvm

        assert self._wish.address is not None
        functions = tvm.IRModule({task.key: task.function for task in self._tasks})
        self._tuner = Tuner(functions, self._target, self._wish.address)
        who = self._tuner.device
        self.told = f"{who['host']}: {who['cpu']}, {who['threads']} threads, TVM {who['tvm']}"
        return self._tuner

    def close(self) -> None:
        """End the process."""
        if self._tuner is not None:
            self._tuner.close()
            self._tuner = None


def _progress(tasks: list[Task], database: Database, spent: int, trials: int) -> str:
    done = sum(task.trials(database) > 0 for task in tasks)
    best = min((r.ratio for task in tasks if (r := database.best(task.key))), default=1.0)
    return (
        f"tuning, {spent} of {trials} trials, {done} of {len(tasks)} functions begun, "
        f"the best takes {best:.2f} of its time"
    )
