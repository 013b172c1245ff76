"""Statistics of a whole network: measured once, then read from the cache, bit for bit."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import normal, parse
from sampled import batches, copy_of, samples, values

from edgecc.calibration import cache as cache_module
from edgecc.calibration.cache import StatisticsCache, cache_folder
from edgecc.calibration.collect import Layer, collect
from edgecc.calibration.statistics import FLOOR, Statistics

W = {
    "w0": normal(8, 4, 3, 3) / 6,
    "w1": normal(6, 8, 3, 3, seed=4) / 9,
    "w2": normal(12, 8, 1, 1, seed=5) / 3,
    "w3": normal(6, 4, 3, 3, seed=6) / 9,
    "w4": normal(8, 1, 3, 3, seed=7) / 3,
    "wt": normal(6, 4, 2, 2) / 4,
    "wg": normal(24, 5) / 5,
}
NETWORK = parse(
    """g (float[N,4,10,10] x) => (float[A,B] y, float[C,D,E,F] z, float[G,H] r) {
        a = Conv <pads=[1,1,1,1]> (x, w0)  b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, w1)  d = Conv <strides=[2,2]> (b, w1)
        e = Conv(b, w2)  f = Conv <group=8> (b, w4)  g = Conv <group=2> (b, w3)
        t = ConvTranspose(c, wt)  z = Conv(t, k)
        s = Concat <axis=1> (f, g)  u = MaxPool <kernel_shape=[3,3]> (e)
        v = Concat <axis=1> (s, u)  w = ReduceMean <axes=[2,3], keepdims=0> (v)
        l = ReduceMean <axes=[2,3], keepdims=0> (d)  r = Concat <axis=1> (w, l)
        p = AveragePool <kernel_shape=[4,4], strides=[4,4]> (c)  q = Flatten(p)
        y = Gemm(q, wg)  k = Abs(w0)
    }""",
    W,
)
INPUTS = {"a": "x", "c": "b", "d": "b", "e": "b", "f": "b", "g": "b", "y": "q"}
X = samples(12)


def statistics_folder() -> Path:
    return cache_folder() / "statistics"


def run(
    tmp_path: Path,
    key: str = "key",
    model: onnx.ModelProto = NETWORK,
    told: list[str] | None = None,
) -> list[Layer]:
    tell = (lambda name: None) if told is None else told.append
    return list(collect(copy_of(model), batches(X, 4), tmp_path, StatisticsCache(key), tell))


def assert_same(first: list[Layer], second: list[Layer]) -> None:
    assert [layer.node.name for layer in first] == [layer.node.name for layer in second]
    for one, other in zip(first, second, strict=True):
        a, b = one.statistics, other.statistics
        assert a.covariance is not None
        assert b.covariance is not None
        assert a.mean.tobytes() == b.mean.tobytes()
        assert a.covariance.tobytes() == b.covariance.tobytes()
        assert a.patches == b.patches
        assert (a.mean.dtype, a.covariance.dtype) == (b.mean.dtype, b.covariance.dtype)


def test_every_layer_with_weights_in_order(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert [layer.node.name for layer in found] == [
        *(f"Conv_{name}" for name in "acdefg"),
        "Gemm_y",
    ]
    for layer in found:
        conv, known = layer.conv, layer.statistics
        assert known.mean.shape == (conv.groups, conv.patch_size)
        assert known.covariance is not None
        assert known.covariance.shape == (conv.groups, conv.patch_size, conv.patch_size)
        np.linalg.cholesky(known.covariance)


def test_the_mean_and_variance_are_those_of_the_values(tmp_path: Path) -> None:
    found = {layer.node.name: layer.statistics for layer in run(tmp_path)}
    b, q = values(NETWORK, X, "b", "q")
    assert np.abs(found["Conv_e"].mean[0] - b.mean(axis=(0, 2, 3))).max() < 1e-5
    rows = b.transpose(0, 2, 3, 1).reshape(-1, 8).astype(np.float64)
    covariance = np.cov(rows.T, bias=True)
    ridge = FLOOR if len(rows) > 0.5 * 8 / FLOOR else 0.5 * 8 / len(rows)
    ridged = covariance + ridge * np.trace(covariance) / 8 * np.eye(8)
    measured = found["Conv_e"].covariance
    assert measured is not None
    assert np.abs(measured[0] - ridged).max() < 1e-4
    assert np.abs(found["Gemm_y"].mean[0] - q.mean(axis=0)).max() < 1e-5


def test_from_the_cache_it_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    told: list[str] = []
    first = run(tmp_path, told=told)
    assert len(told) == len(first) == 7
    assert_same(first, run(tmp_path, told=told))
    assert len(told) == 7  # nothing was run again
    (folder,) = statistics_folder().iterdir()
    assert len(list(folder.iterdir())) == 7
    assert_same(first, run(tmp_path, "other", told=told))
    assert len(told) == 14


def test_the_cache_lies_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    run(tmp_path)
    assert len(list((tmp_path / "mine" / "edgecc" / "statistics").iterdir())) == 1
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for relative in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_folder() == tmp_path / "home" / ".cache" / "edgecc"


DAMAGE = {
    "gone": None,
    "words": lambda data: b"not numpy",
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "a byte is another": lambda data: data[:-500] + bytes([data[-500] ^ 255]) + data[-499:],
}
CRASHES = ("empty", "cut off", "a byte is another")


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_measured_again(tmp_path: Path, damage: str, number: int) -> None:
    first = run(tmp_path)
    (folder,) = statistics_folder().iterdir()
    file, harm = folder / f"{number}.npz", DAMAGE[damage]
    if harm is None:
        file.unlink()
    else:
        file.write_bytes(harm(file.read_bytes()))
    told: list[str] = []
    assert_same(first, run(tmp_path, told=told))
    assert len(told) == 7
    assert_same(first, run(tmp_path, told=told))
    assert len(told) == 7


@pytest.mark.parametrize("taken", ["", "edgecc", "edgecc/statistics"])
def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    """A file stands where a folder should be."""
    expected = run(tmp_path)
    home = tmp_path / "mine"
    (home / taken).parent.mkdir(parents=True, exist_ok=True)
    (home / taken).write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    for _ in range(2):
        assert_same(expected, run(tmp_path))
    assert (home / taken).read_text() == "a file"


@contextlib.contextmanager
def full_disk(most_bytes: int) -> Iterator[None]:
    """No file can grow beyond so much."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_for_a_while_leaves_no_half_of_it() -> None:
    large, small = (Statistics(np.zeros((1, size)), np.eye(size)[None], 100) for size in (100, 10))
    cache = StatisticsCache("key")
    with full_disk(12_000):
        for number, statistics in enumerate((small, large, small)):
            cache.put(number, statistics)
    cache.finish()
    assert not cache.complete
    assert not list(statistics_folder().iterdir())


def test_an_interrupted_collection_leaves_nothing(tmp_path: Path) -> None:
    layers = collect(copy_of(NETWORK), batches(X, 4), tmp_path, StatisticsCache("key"))
    for _ in range(3):
        next(layers)
    (staging,) = statistics_folder().iterdir()
    assert staging.name.startswith("new-")
    layers.close()
    assert not list(statistics_folder().iterdir())
    assert not StatisticsCache("key").complete

    def stop(name: str) -> None:
        if name == "Conv_d":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(collect(copy_of(NETWORK), batches(X, 4), tmp_path, StatisticsCache("key"), stop))
    assert not list(statistics_folder().iterdir())


def test_the_oldest_go_when_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("one", "two", "three")
    for age, key in enumerate(keys):
        run(tmp_path, key)
        newest = max(statistics_folder().iterdir(), key=lambda f: f.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    (size, *_) = {
        sum(file.stat().st_size for file in folder.iterdir())
        for folder in statistics_folder().iterdir()
    }
    run(tmp_path, "one")  # used again: it is not the oldest any more
    monkeypatch.setattr(cache_module, "LIMIT_BYTES", int(3.5 * size))
    run(tmp_path, "four")
    assert [StatisticsCache(key).complete for key in (*keys, "four")] == [True, False, True, True]
    monkeypatch.setattr(cache_module, "LIMIT_BYTES", size // 2)
    run(tmp_path, "five")  # what is larger than the limit stays until another comes
    left = [key for key in (*keys, "four", "five") if StatisticsCache(key).complete]
    assert left == ["five"]


def test_the_key_is_of_all_digests_in_order() -> None:
    keys = [("a", "b"), ("b", "a"), ("ab",), ("a", "b", "")]
    for key in keys:
        cache = StatisticsCache(*key)
        cache.put(0, Statistics(np.zeros((1, 2)), np.eye(2)[None], 1))
        assert not cache.complete
        cache.finish()
        assert cache.complete
    assert len(list(statistics_folder().iterdir())) == 4


def test_two_that_collect_the_same_do_not_disturb_each_other(tmp_path: Path) -> None:
    model = copy_of(NETWORK)
    first = collect(model, batches(X, 4), tmp_path, StatisticsCache("key"))
    found = [next(first)]
    second = run(tmp_path)
    found += list(first)
    assert_same(found, second)
    assert [f.name.startswith("new-") for f in statistics_folder().iterdir()] == [False]


def test_nothing_is_measured_where_there_is_nothing(tmp_path: Path) -> None:
    model = parse("g (float[N,4,10,10] x) => (float[A,B,C,D] y) { y = Relu(x) }")
    assert run(tmp_path, model=model) == []
    assert not statistics_folder().exists()
