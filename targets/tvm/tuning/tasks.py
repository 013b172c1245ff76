"""The functions of a network that have a choice, and what is worth to be measured next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecc.target import Core
from targets.tvm.relax_values import calls_of
from targets.tvm.schedules.choose import scheduled
from targets.tvm.tuning.records import Database
from targets.tvm.tuning.space import Choice, choices, own_choice, with_choice


@dataclass
class Task:
    """A function that has a choice, and how often it is called."""

    key: str
    function: Any
    uses: int
    core: Core
    others: list[Choice]

    def untried(self, database: Database) -> Choice | None:
        """Return what to measure next, leaving out what has no schedule."""
        known = database.of(self.key)
        while rest := [choice for choice in self.others if choice not in known]:
            if scheduled(with_choice(self.function, self.core, rest[0]), self.core) is not None:
                return rest[0]
            self.others.remove(rest[0])
        return None

    def trials(self, database: Database) -> int:
        """Return how many of its choices are known."""
        return len(database.of(self.key))

    def own_us(self, database: Database) -> float | None:
        """Return how long our own choice takes, None where it was not measured."""
        times = [r.own_us for r in database.of(self.key).values() if r.own_us is not None]
        return min(times) * self.uses if times else None

    def urgency(self, database: Database) -> float:
        """Return how much is to be won: much time, of which little was tried."""
        trials = self.trials(database)
        if trials == 0:
            return float("inf")
        return (self.own_us(database) or 0.0) / trials


def tasks_of(module: Any, core: Core) -> dict[Any, Task]:
    """Return the functions that have a choice, the network's name of each with its task."""
    import tvm
    import tvm_ffi

    uses = calls_of(module["main"])
    found: dict[Any, Task] = {}
    by_key: dict[str, Task] = {}
    for variable, function in module.functions_items():
        if not isinstance(function, tvm.tirx.PrimFunc) or own_choice(function, core) is None:
            continue
        plain = function.without_attr("global_symbol")
        key = f"{tvm_ffi.structural_hash(plain) % 2**64:016x}"
        count = uses[variable]
        if key in by_key:
            by_key[key].uses += count
        else:
            by_key[key] = Task(key, plain, count, core, choices(plain, core))
        found[variable] = by_key[key]
    return found
