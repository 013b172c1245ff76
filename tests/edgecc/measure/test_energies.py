"""The words of an energy."""

from __future__ import annotations

import math

import pytest

from edgecc.measure.energies import within


@pytest.mark.parametrize(
    ("value", "wrong", "words"),
    [
        (2090.4, 113.0, "2090 ± 110"),
        (4.5e-13, 140.0, "0 ± 140"),
        (-0.4, 12.0, "0 ± 12"),
        (23.456, 0.123, "23.46 ± 0.12"),
        (1.5, 0.96, "1.50 ± 0.96"),
        (2090.4, 0.0, "2090"),
        (2090.4, math.inf, "2090"),
    ],
)
def test_a_number_has_the_digits_that_its_uncertainty_leaves(
    value: float, wrong: float, words: str
) -> None:
    assert within(value, wrong) == words
