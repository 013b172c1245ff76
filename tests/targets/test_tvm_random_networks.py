"""Random small networks against onnxruntime: what finds a wrong layout between two operators."""

from __future__ import annotations

import pytest
from branches import LIMIT, SMALL
from random_networks import random_network
from tvm_networks import HOST, by_onnxruntime, error, given, run_lowered

from edgecc.target import Target

FAST = range(6)
ALL = range(40)
HAVE_SCHEDULES = ("dense", "on_lanes", "winograd", "depthwise", "conv2d", "matmul")
"""How names of functions begin of which none may be left to TVM."""


def compare(seed: int, target: Target) -> None:
    model = random_network(seed)
    inputs = given(model)
    (got,), lowered = run_lowered(model, inputs, target)
    assert error(by_onnxruntime(model, inputs)[0], got) < LIMIT
    left = [name for name in lowered.unscheduled if name.startswith(HAVE_SCHEDULES)]
    assert left == []


@pytest.mark.parametrize("seed", FAST)
def test_it_equals_onnxruntime(seed: int) -> None:
    compare(seed, HOST)


@pytest.mark.slow
@pytest.mark.parametrize("target", [HOST, SMALL], ids=["host", "small caches"])
@pytest.mark.parametrize("seed", ALL)
def test_more_of_them(seed: int, target: Target) -> None:
    compare(seed, target)


def test_a_seed_gives_the_same_network() -> None:
    one, other = (random_network(3).SerializeToString() for _ in range(2))
    assert one == other
