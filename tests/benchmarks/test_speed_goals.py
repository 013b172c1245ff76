"""Which rows of measurements miss what the project wants."""

from __future__ import annotations

from typing import Any

import pytest
from speed_goals import arm_misses, misses, slower_with_threads


def row(network: str = "net", family: str = "dense", ratio: float = 0.7, **more: Any) -> dict:
    of_original = None if family == "dense" else {"value": more.pop("of_original", 0.4)}
    usual = {"threads": 1, "macs": 1.0 if family == "dense" else 0.5, "error": 1e-6, "build_s": 5.0}
    times = {"ours_ms": ratio, "theirs_ms": 1.0}
    own = {"network": network, "family": family, "ratio": {"value": ratio}}
    return {**usual, **times, **own, "of_original": of_original, **more}


def test_good_rows_miss_nothing() -> None:
    told, missed = misses([row(), row("other", ratio=0.9), row(family="dac")])
    assert missed == []
    assert told[0] == "dense, edgecc / onnxruntime: geometric mean 0.794, wanted 0.85"
    assert len(told) == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(ratio=0.9), row("b", ratio=0.95)], ["dense, edgecc / onnxruntime: geometric mean"]),
        ([row(ratio=1.2), row("b", ratio=0.1)], ["net: 1.20 of onnxruntime's time"]),
        ([row(family="dac", ratio=0.81)], ["rewritten, edgecc / onnxruntime"]),
        ([row(family="dac", of_original=0.5)], ["rewritten in edgecc / original"]),
        ([row(error=0.01)], ["net by dense is wrong: 1.0e-02"]),
        ([row(error=float("nan"))], ["is wrong"]),
        ([row("resnet18", build_s=70.0)], ["resnet18 is built in 70.0 s, wanted 60"]),
    ],
)
def test_what_is_missed_is_told(rows: list[dict], words: list[str]) -> None:
    _, missed = misses(rows)
    assert len(missed) == len(words)
    assert all(word in miss for word, miss in zip(words, missed, strict=True))


def test_a_family_that_does_not_reach_half_is_told() -> None:
    told, missed = misses([row(family="hetconv", macs=0.557)])
    assert "net by hetconv is at 0.557 of the MACs, its nearest" in told
    assert missed == []


def test_two_threads_have_no_goal_of_their_own() -> None:
    assert misses([row(ratio=3.0, threads=2)])[1] == []


def test_arm_is_judged_as_a_whole() -> None:
    assert arm_misses([row(ratio=0.95), row(family="dac", ratio=0.8)])[1] == []
    _, missed = arm_misses([row(ratio=0.95), row(family="dac", ratio=0.95)])
    assert missed == ["all: geometric mean 0.950, wanted 0.9"]


def test_more_threads_must_gain_as_much() -> None:
    one = row()  # 0.7 ms in edgecc, 1 ms in onnxruntime
    as_much = {**one, "threads": 2, "ours_ms": 0.35, "theirs_ms": 0.5}
    less = {**one, "threads": 2, "ours_ms": 0.5, "theirs_ms": 0.5}
    assert slower_with_threads([one, as_much]) == []
    (miss,) = slower_with_threads([one, less])
    assert miss == "dense, 2 threads: edgecc 1.40 times as fast as with one, onnxruntime 2.00"
