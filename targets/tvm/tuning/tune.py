"""Tunes the functions of a network: measures what the budget allows, and takes what is faster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgecc.target import Target
from targets.tvm.core import core_of
from targets.tvm.tuning.records import Database
from targets.tvm.tuning.search import measure
from targets.tvm.tuning.space import with_choice
from targets.tvm.tuning.tasks import Task, tasks_of
from targets.tvm.tuning.wish import Wish


@dataclass
class Tuning:
    """The tuning of one build: called with a network's functions, it returns tuned ones."""

    target: Target
    wish: Wish
    database: Database
    tasks: dict[str, Task] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, target: Target, wish: Wish) -> Tuning:
        """Open what was measured. Errors: `UsageError`."""
        return cls(target, wish, wish.database(target))

    def __call__(self, module: Any) -> Any:
        """Return `module`, fused and not yet scheduled, with tuned tiles.

        Errors: `DeviceError` where the device is not the target's, or never answers.
        """
        core = core_of(self.target)
        tasks = tasks_of(module, core)
        new = {task.key: task for task in tasks.values()}
        self.tasks |= new
        if self.wish.address is not None:
            ended = measure(list(new.values()), self.target, self.wish, self.database)
            self.notes += [ended] if ended else []
        for variable, task in tasks.items():
            best = self.database.best(task.key)
            if best is not None:
                module[variable] = with_choice(module[variable], core, best.choice)
        return module

    def details(self) -> dict[str, Any]:
        """Return what was tuned, for the manifest."""
        tasks = list(self.tasks.values())
        best = [self.database.best(task.key) for task in tasks]
        before = after = 0.0
        for task, record in zip(tasks, best, strict=True):
            own = task.own_us(self.database) or 0.0
            before += own
            after += own * (record.ratio if record else 1.0)
        known = [record for task in tasks for record in self.database.of(task.key).values()]
        tuned = sum(record is not None for record in best)
        ratio = round(after / before, 4) if before else None
        told = f"tuned {tuned} of {len(tasks)} functions, with {len(known)} tiles measured"
        if ratio is not None:
            told += f"; predicted time of these functions {ratio:.3f}"
        return {
            "tuning": {
                "functions": len(tasks),
                "tuned": tuned,
                "trials": len(known),
                "failed": sum(record.failed is not None for record in known),
                "predicted_ratio": ratio,
                "devices": sorted({record.device for record in known}),
            },
            "notes": [told, *self.database.notes, *self.notes],
        }

    def text(self) -> str:
        """Return all that was measured for this network, as a file to tune from."""
        return self.database.text(list(self.tasks))
