"""Loads found in logs whose loads are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_power import IDLE_MW, Drawn
from rails_of_boards import BOARDS

from edgecc.measure import phases, power_log
from edgecc.measure.energy import Window, of_samples
from edgecc.measure.phases import Phases
from edgecc.measure.rails import meter

CPU_LOAD = np.array([0.0, 0.8, 0.1, 0.0, 0.05, 0.05])
SEEDS = range(3)
Rng = np.random.Generator


def found(drawn: Drawn, folder: Path) -> tuple[Phases, list[Window]]:
    path = folder / "power.log"
    path.write_text(drawn.text())
    log = power_log.read(path)
    series = power_log.series(log, drawn.interval_s)
    rails = meter(log.rails, BOARDS)
    loads = phases.find(series, rails)
    return loads, [of_samples(series, rails, first, last) for first, last in loads.loads]


def some(rng: Rng, count: int, long: tuple[float, float], watts: tuple[float, float]) -> Drawn:
    """`count` loads with idle between them."""
    at, loads = rng.uniform(10, 30), []
    for _ in range(count):
        seconds = rng.uniform(*long)
        loads.append((at, seconds, rng.uniform(*watts)))
        at += seconds + rng.uniform(8, 40)
    return Drawn(loads, at + 10, seed=int(rng.integers(1000)))


def changed(drawn: Drawn, **fields: object) -> Drawn:
    return Drawn(**{**vars(drawn), **fields})  # type: ignore[arg-type]


KINDS: dict[str, Callable[[Rng], Drawn]] = {
    "one": lambda rng: some(rng, 1, (10, 60), (3, 15)),
    "eight": lambda rng: some(rng, 8, (10, 60), (3, 15)),
    "nearly the same": lambda rng: some(rng, 5, (20, 40), (9, 9.5)),
    "2 W beside 25 W": lambda rng: some(rng, 6, (10, 60), (2, 25)),
    "short": lambda rng: some(rng, 6, (5, 8), (4, 12)),
    "small": lambda rng: some(rng, 3, (20, 40), (1.5, 1.6)),
    "noise": lambda rng: changed(some(rng, 4, (10, 60), (6, 12)), noise_mw=500.0),
    "read at once": lambda rng: changed(some(rng, 4, (10, 60), (4, 12)), window_s=0.05),
    "averaged over the interval": lambda rng: changed(some(rng, 4, (10, 60), (4, 12)), window_s=1),
    "on the CPU": lambda rng: changed(
        some(rng, 5, (10, 60), (4, 12)), gpu_busy=False, share=CPU_LOAD
    ),
    "spikes": lambda rng: changed(
        some(rng, 4, (15, 30), (5, 10)), spikes=tuple(rng.uniform(0, 120, 5))
    ),
    "ten samples a second": lambda rng: changed(
        some(rng, 3, (5, 15), (4, 12)), interval_s=0.1, window_s=0.43
    ),
    "a sample in two seconds": lambda rng: changed(some(rng, 3, (20, 60), (4, 12)), interval_s=2),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_loads_are_found_with_their_time_and_power(kind: str, seed: int, tmp_path: Path) -> None:
    drawn = KINDS[kind](np.random.default_rng(seed))
    _, windows = found(drawn, tmp_path)
    assert len(windows) == len(drawn.loads)
    for window, (_, seconds, watts) in zip(windows, drawn.loads, strict=True):
        assert abs(window.duration_s - seconds) <= 1.1 * drawn.interval_s  # half at each edge
        if len(drawn.spikes) == 0:
            level_mw = IDLE_MW.sum() + 1000 * watts
            assert abs(window.power_mw[-1] - level_mw) <= window.power_uncertainty_mw[-1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noise_mw", [0.0, 40.0, 500.0])
def test_idle_alone_has_no_load(noise_mw: float, seed: int, tmp_path: Path) -> None:
    loads, _ = found(Drawn([], 200, noise_mw=noise_mw, seed=seed), tmp_path)
    assert loads.loads == ()


def test_a_drift_is_no_load(tmp_path: Path) -> None:
    loads, _ = found(Drawn([], 400, drift_mw=lambda t_s: 10 * t_s), tmp_path)
    assert loads.loads == ()


def test_loads_on_a_drift(tmp_path: Path) -> None:
    drawn = Drawn([(50, 30, 8), (150, 40, 6)], 300, drift_mw=lambda t_s: 5 * t_s)
    _, windows = found(drawn, tmp_path)
    assert [round(window.duration_s) for window in windows] == [30, 40]


def test_bursts_are_no_loads_and_are_counted(tmp_path: Path) -> None:
    drawn = Drawn([(5, 1, 9), (20, 25, 8), (60, 1.5, 8), (70, 30, 6), (120, 1, 9)], 140)
    loads, windows = found(drawn, tmp_path)
    assert [round(window.duration_s) for window in windows] == [25, 30]
    assert loads.bursts == 4


def test_a_log_that_begins_and_ends_in_load(tmp_path: Path) -> None:
    loads, _ = found(Drawn([(-5, 25, 8), (60, 60, 8)], 100), tmp_path)
    assert loads.loads == ((0, 19), (60, 99))


def test_a_log_that_is_load_alone(tmp_path: Path) -> None:
    loads, _ = found(Drawn([(-5, 200, 8)], 100), tmp_path)
    assert (loads.loads, loads.signal) == (((0, 99),), "GR3D_FREQ")


def test_work_of_the_cpu_is_no_load_where_loads_are_the_gpus(tmp_path: Path) -> None:
    loads = [(20.0, 30.0, 10.0), (80.0, 30.0, 10.0)]
    lines = Drawn(loads, 140).text().splitlines(keepends=True)
    work = Drawn([(55, 20, 3)], 140, gpu_busy=False, share=CPU_LOAD).text().splitlines(True)
    path = tmp_path / "power.log"
    path.write_text("".join([*lines[:54], *work[54:76], *lines[76:]]))
    log = power_log.read(path)
    found = phases.find(power_log.series(log), meter(log.rails, BOARDS))
    assert found == Phases(((20, 49), (80, 109)), "GPU", 0)


def test_a_restless_board_in_idle_has_no_load(tmp_path: Path) -> None:
    drawn = Drawn([(30, 20, 1.2), (90, 15, 1.0)], 140, gpu_busy=False)
    loads, _ = found(drawn, tmp_path)
    assert loads.loads == ()
    loads, _ = found(changed(drawn, gpu_busy=True), tmp_path)
    assert len(loads.loads) == 2
