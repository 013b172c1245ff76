"""Times as devices give them: rounds that differ, a clock that wanders, now and then a spike."""

from __future__ import annotations

from typing import Any

import numpy as np


def rounds(
    seed: int,
    *,
    factors: tuple[float, ...] = (1.0, 1.0),
    count: int = 5,
    runs: int = 300,
    between: float = 0.01,
    within: float = 0.02,
    spikes: float = 0.01,
) -> list[dict[int, list[float]]]:
    """The times of several bundles, A B A B, the n-th `factors[n]` times 10 ms.

    What a round has in common moves by 2 * `between`, a single pass by `between` / 2, a run by
    `within`; neighbouring runs are alike (an AR(1) process of 0.7).
    """
    random = np.random.default_rng(seed)
    found: list[dict[int, list[float]]] = [{} for _ in factors]
    for number in range(count):
        shared = 1 + 2 * between * random.standard_normal()
        for times, factor in zip(found, factors, strict=True):
            level = 10 * factor * shared * (1 + between / 2 * random.standard_normal())
            times[number] = (level * noise(random, runs, within, spikes)).tolist()
    return found


def noise(random: np.random.Generator, runs: int, within: float, spikes: float) -> np.ndarray:
    steps = random.standard_normal(runs)
    for index in range(1, runs):
        steps[index] = 0.7 * steps[index - 1] + np.sqrt(1 - 0.7**2) * steps[index]
    times = 1 + within * np.abs(steps)
    times[random.random(runs) < spikes] *= 5
    return times


def events(times: list[dict[int, list[float]]], **state: Any) -> list[dict[str, Any]]:
    """A whole record of these times, of bundles A, B, ...; `state` is true all the time."""
    labels = [chr(ord("A") + index) for index in range(len(times))]
    always = {
        "boot_id": "b0",
        "mode": {"id": 0, "name": "MAXN"},
        "cpus": [],
        "temps_c": {},
        **state,
    }
    job = {"schema_version": 1, "bundles": {name: f"/b/{name}" for name in labels}, "pin": True}
    told: list[dict[str, Any]] = [
        {"event": "start", "schema_version": 1, "job": job, "time_unix_s": 1.8e9, "t_s": 5.0},
        {"event": "identity", "identity": {"machine": "aarch64", "model": "a board"}},
        {"event": "state", "when": "before", "t_s": 5.1, "state": always},
        {"event": "state", "when": "pinned", "t_s": 5.2, "state": always},
    ]
    for number in times[0]:
        told.append({"event": "state", "when": f"round {number}", "t_s": 6.0, "state": always})
        told += [
            {
                "event": "times",
                "bundle": name,
                "round": number,
                "kind": "latency",
                "times_ms": of[number],
                "runner": "tvm",
            }
            for name, of in zip(labels, times, strict=True)
        ]
    told.append({"event": "state", "when": "after", "t_s": 9.0, "state": always})
    told.append({"event": "end", "ok": True, "restored": True, "t_s": 9.1})
    return told
