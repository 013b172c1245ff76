from __future__ import annotations

import math

import pytest

from edgecc.errors import UsageError
from edgecc.planning.budget import Budget, Drop, Goal


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("0.5", 0.5), (0.5, 0.5), ("50%", 0.5), (" 50 %", 0.5), (1, 1.0), ("1e-3", 1e-3)],
)
def test_a_fraction_of_the_original(text: str | float, fraction: float) -> None:
    assert Budget.parse("macs", text) == Budget("macs", fraction)


@pytest.mark.parametrize("text", ["50", "1.001", "101%", 0, "-0.5", "0%"])
def test_what_is_no_fraction(text: str | float) -> None:
    with pytest.raises(UsageError, match="for latency is not above 0 and at most 1") as caught:
        Budget.parse("latency", text)
    assert caught.value.hint == "fractions of the original: 0.5 is half"


@pytest.mark.parametrize("text", ["", "half", "%", "5%%", "nan", "inf", math.nan, "1_0x"])
def test_what_is_no_number(text: str | float) -> None:
    with pytest.raises(UsageError, match=r"the budget for energy is '.*', not a number"):
        Budget.parse("energy", text)


def test_a_quantity_that_is_none() -> None:
    with pytest.raises(UsageError, match="no budget for 'flops'"):
        Budget("flops", 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "original", "allowed"),
    [
        ("0.01", 0.93, 0.01),
        ("0.01", 93.0, 0.01),
        (2, -40.0, 2.0),
        ("1%", 0.93, 0.01),
        ("1%", 1.0, 0.01),
        ("1%", 93.0, 1.0),
        ("0.5%", 100.0, 0.5),
        ("0", 0.5, 0.0),
    ],
)
def test_a_drop_in_the_units_of_the_metric(
    text: str | float, original: float, allowed: float
) -> None:
    assert Drop.parse(text).allowed(original) == pytest.approx(allowed, abs=1e-15)


@pytest.mark.parametrize("original", [-0.1, 100.5])
def test_percentage_points_of_what_is_no_percentage(original: float) -> None:
    with pytest.raises(UsageError, match=r"a drop of 1% means nothing for a metric of"):
        Drop.parse("1%").allowed(original)


def test_a_drop_is_not_negative() -> None:
    with pytest.raises(UsageError, match="a drop of -1% is below 0"):
        Drop.parse("-1%")


def test_all_of_a_goal() -> None:
    goal = Goal.parse(macs=0.5, params="60%", max_error="0.1", max_drop="1%")
    assert goal == Goal((Budget("macs", 0.5), Budget("params", 0.6)), 0.1, Drop(1, percent=True))
    assert str(goal) == "--macs 0.5 --params 0.6 --max-error 0.1 --max-drop 1%"
    assert goal
    assert Goal.parse(max_error=0)
    assert not Goal.parse()
    assert str(Goal()) == ""


@pytest.mark.parametrize("text", ["1.5", "-0.1", "150%"])
def test_an_error_is_a_share(text: str) -> None:
    with pytest.raises(UsageError, match="is not within 0 and 1"):
        Goal.parse(max_error=text)
