from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import normal

from edgecc.calibration.store import Lazy, Store


def files(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_beyond_its_limit_a_store_keeps_arrays_in_files(
    dtype: Callable[..., Any], tmp_path: Path
) -> None:
    arrays = [(normal(4, 5, seed=seed) > 0).astype(dtype) for seed in range(5)]
    store = Store(tmp_path, limit_bytes=2 * arrays[0].nbytes)
    for array in arrays[:4]:
        store.put("a", array)
    store.put("b", arrays[4])
    assert files(tmp_path) == 3
    assert store.names() == ["a", "b"]
    assert all(np.array_equal(x, y) for x, y in zip(store["a"], arrays, strict=False))
    assert np.array_equal(store["b"][0], arrays[4])
    store.drop("a")
    assert "a" not in store
    assert files(tmp_path) == 1
    store.put("c", arrays[0])  # there is room in memory again
    assert files(tmp_path) == 1
    store.drop("b")
    store.drop("c")
    store.drop("never")
    assert files(tmp_path) == 0


def test_scalars_and_several_stores_in_one_folder(tmp_path: Path) -> None:
    stores = [Store(tmp_path, limit_bytes=0) for _ in range(2)]
    for number, store in enumerate(stores):
        store.put("s", np.float32(number))
        store.put("v", np.full(3, number))
    assert files(tmp_path) == 4
    for number, store in enumerate(stores):
        assert float(store["s"][0]) == number
        assert np.array_equal(store["v"][0], [number] * 3)


def test_files_are_not_held_open(tmp_path: Path) -> None:
    store = Store(tmp_path, limit_bytes=0)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        store.put("a", np.full(3, number))
    found = store["a"]
    assert [int(array[0]) for array in found] == list(range(200))
    assert len(found) == 200
    assert len(os.listdir("/proc/self/fd")) == before


def test_sequences_and_strings_stay_in_memory(tmp_path: Path) -> None:
    store = Store(tmp_path, limit_bytes=0)
    store.put("s", [np.zeros(3), np.ones(2)])
    store.put("t", np.array(["a", "b"], object))
    assert files(tmp_path) == 0
    assert [len(array) for array in store["s"][0]] == [3, 2]
    assert list(store["t"][0]) == ["a", "b"]
    store.drop("s")
    store.drop("t")
    assert store.names() == []


def test_what_is_lazy_is_computed_when_it_is_looked_at() -> None:
    told: list[int] = []

    def double(batch: int) -> int:
        told.append(batch)
        return 2 * batch

    found = Lazy(double, [1, 2, 3])
    assert len(found) == 3
    assert told == []
    assert found[1] == 4
    assert list(found[1:]) == [4, 6]
    assert told == [2, 2, 3]
