from __future__ import annotations

import numpy as np
import pytest
from recorded import rounds

from edgecc.measure.statistics import latency, ratio


def test_percentiles_spread_and_throughput_are_those_of_the_numbers() -> None:
    found = latency({0: [1.0, 2.0, 3.0, 4.0], 1: [5.0, 6.0, 7.0, 8.0]})
    assert (found.samples, found.rounds, found.median_ms, found.mean_ms) == (8, 2, 4.5, 4.5)
    assert found.p90_ms == pytest.approx(np.percentile(range(1, 9), 90), abs=1e-12)
    assert found.throughput_per_s == pytest.approx(1000 / 4.5, abs=1e-9)
    assert found.round_medians_ms == (2.5, 6.5)
    assert found.drift == pytest.approx(1.6, abs=1e-12)
    assert found.cov == pytest.approx(np.std(range(1, 9), ddof=1) / 4.5, abs=1e-12)


def test_outliers_move_the_coefficient_of_variation_and_not_the_spread() -> None:
    random = np.random.default_rng(0)
    times = 10 * (1 + 0.01 * random.standard_normal(1000))
    times[::100] = 100
    found = latency({0: times.tolist()})
    assert found.cov > 0.8
    assert found.spread == pytest.approx(0.01, abs=0.002)


def test_a_clock_that_comes_up_inside_a_round_is_a_trend() -> None:
    found = latency({0: [6.8] * 100 + [4.9] * 100})
    assert found.trend == pytest.approx(4.9 / 6.8 - 1, abs=1e-9)


def test_runs_that_follow_one_another_closely_are_correlated() -> None:
    walk = 10 + np.cumsum(np.random.default_rng(1).standard_normal(500)) / 100
    alone = 10 + np.random.default_rng(1).standard_normal(500) / 100
    assert latency({0: walk.tolist()}).autocorrelation > 0.9
    assert abs(latency({0: alone.tolist()}).autocorrelation) < 0.15


@pytest.mark.parametrize("count", [4, 5])
def test_two_that_are_alike_differ_in_none_of_twenty_trials(count: int) -> None:
    assert not any(ratio(*rounds(seed, count=count, runs=100)).differs for seed in range(20))


def test_three_percent_are_found() -> None:
    found = [ratio(*rounds(seed, factors=(1, 0.97), runs=100)) for seed in range(20)]
    assert sum(each.verdict == "faster" for each in found) >= 19
    assert all(each.low < 0.97 < each.high for each in found)


def test_the_same_numbers_give_the_same_interval_and_the_inverse_its_inverse() -> None:
    a, b = rounds(3, factors=(1, 0.8), runs=60)
    assert ratio(a, b) == ratio(a, b)
    assert ratio(a, b).value * ratio(b, a).value == pytest.approx(1, abs=1e-12)


def test_an_instruction_clock_makes_an_interval_of_the_resolution() -> None:
    exact = {number: [4.2] * 20 for number in range(4)}
    found = ratio(exact, exact)
    assert (found.value, found.verdict) == (1, "same")
    assert found.high == pytest.approx(1.001, abs=1e-9)
    assert ratio(exact, {n: [4.21] * 20 for n in range(4)}).verdict == "slower"


def test_rounds_that_disagree_are_wide_and_fewer_rounds_wider() -> None:
    a = {number: [10.0] * 50 for number in range(6)}
    b = {number: [9.0 if number % 2 else 11.0] * 50 for number in range(6)}
    six, three = ratio(a, b), ratio(a, {key: b[key] for key in range(3)})
    assert six.verdict == three.verdict == "same"
    assert three.high - three.low > six.high - six.low > 0.2


def test_a_ratio_takes_two_rounds_and_times_some_times() -> None:
    with pytest.raises(ValueError, match="two rounds"):
        ratio({0: [1.0]}, {0: [1.0]})
    with pytest.raises(ValueError, match="no times"):
        latency({0: []})
