from __future__ import annotations

from pathlib import Path

import pytest

from edgecc.errors import UnstableError
from edgecc.measure.loop import Search, Try, traces_kept


def searched(goal: float, takes: float, *, least: float = 0.0, tries: int = 5) -> Search:
    """A device whose convolutions are all but `takes` of the time; no plan goes below `least`."""
    search = Search(goal)
    while len(search.tries) < tries and (asked := search.next()) is not None:
        if asked < least:
            search.refused = max(asked, search.refused)
            continue
        measured = takes + (1 - takes) * asked
        search.tries.append(Try(asked, measured, measured, measured, measured <= goal))
    return search


def met(search: Search) -> list[float]:
    return [each.planned for each in search.tries if each.met]


@pytest.mark.parametrize("goal", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("takes", [0.0, 0.1, 0.25])
def test_a_device_is_brought_just_within_the_budget(goal: float, takes: float) -> None:
    search = searched(goal, takes)
    best = max(met(search))
    assert 0.9 * goal < takes + (1 - takes) * best <= goal


def test_what_meets_the_budget_at_once_is_enough() -> None:
    assert [each.planned for each in searched(0.5, 0.0).tries] == [0.5]


def test_each_that_meets_the_budget_keeps_more_than_the_one_before() -> None:
    search = searched(0.6, -0.5, tries=8)
    assert met(search) == sorted(met(search))
    assert len(met(search)) > 1


def test_a_budget_out_of_reach_is_given_up() -> None:
    assert not met(searched(0.3, 0.4))
    assert not met(searched(0.5, 0.2, least=0.45, tries=20))


@pytest.mark.parametrize("kind", [UnstableError, KeyboardInterrupt])
def test_what_was_measured_outlives_a_loop_that_failed(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "small"
    record = scratch / "try-1/small/trace/20261128-234500/record.jsonl"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    kept = tmp_path / "small-trace/20261128-234500/record.jsonl"
    with pytest.raises(kind) as caught, traces_kept(scratch, out):
        raise kind(f"What was recorded: {record}")
    assert kept.read_text() == "{}"
    assert f"What was recorded: {kept}" in str(caught.value)


def test_a_loop_that_measured_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnstableError, match=r"^x$"), traces_kept(tmp_path, tmp_path / "small"):
        raise UnstableError("x")
    assert list(tmp_path.iterdir()) == []
