"""How a ratio of times and its interval are computed."""

from __future__ import annotations

import numpy as np
import pytest
from ratios import geometric_mean, ratio, table_head, table_row


def test_a_ratio_is_that_of_the_medians() -> None:
    found = ratio([1.0, 2.0, 90.0], [4.0, 5.0, 3.0])
    assert found.value == 0.5
    assert found.low <= found.value <= found.high


def test_times_that_do_not_vary_leave_no_doubt() -> None:
    found = ratio([3.0] * 5, [2.0] * 5)
    assert (found.value, found.low, found.high) == (1.5, 1.5, 1.5)
    assert str(found) == "1.50 (1.50-1.50)"


def test_the_interval_holds_the_true_ratio_and_narrows_with_rounds() -> None:
    random = np.random.default_rng(3)
    held, widths = 0, []
    for rounds in (25, 400):
        widths.append(0.0)
        for _ in range(20):
            ours, theirs = np.exp(random.normal(0, 0.2, (2, rounds))) * np.array([[0.8], [1.0]])
            found = ratio(list(ours), list(theirs))
            held += found.low <= 0.8 <= found.high
            widths[-1] += found.high - found.low
    assert held >= 34  # of 40, where 38 are expected
    assert widths[1] < widths[0] / 2


def test_rounds_are_drawn_as_pairs() -> None:
    """Where a busy machine slows both engines in the same rounds, the ratio stays sure."""
    busy = [1.0, 1.0, 5.0, 5.0, 9.0]
    found = ratio([2 * time for time in busy], busy)
    assert (found.low, found.high) == (2.0, 2.0)


@pytest.mark.parametrize("times", [([], []), ([1.0], [0.0]), ([float("nan")], [1.0])])
def test_no_ratio_without_times(times: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ratio(*times)


def test_rounds_belong_together() -> None:
    with pytest.raises(ValueError, match="inhomogeneous"):
        ratio([1.0, 2.0], [1.0])


def test_the_mean_of_ratios_is_geometric() -> None:
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_mean(iter([0.1, 0.1, 0.1])) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="nothing"):
        geometric_mean([])


def test_a_table_is_markdown() -> None:
    assert table_head(["a", "b"]) == "| a | b |\n|---|---|"
    assert table_row(["x", 1, ""]) == "| x | 1 |  |"
