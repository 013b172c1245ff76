from __future__ import annotations

import numpy as np
import pytest
from correlated import oracle
from scipy.optimize import linear_sum_assignment

from passes.decompose.clusters import assign, cluster, co_cluster


def test_clusters_hold_as_much_as_those_of_the_reference() -> None:
    wls = oracle()
    energy = np.random.default_rng(0).gamma(0.5, size=(24, 16))
    for parts in (2, 4, 8):
        outputs, channels = co_cluster(energy, parts)
        assert np.bincount(outputs).tolist() == [24 // parts] * parts
        assert np.bincount(channels).tolist() == [16 // parts] * parts
        theirs = wls.coclust(energy, parts)
        inside = [energy[o[:, None] == c].sum() for o, c in ((outputs, channels), theirs)]
        assert inside[0] > 0.97 * inside[1]


def test_blocks_that_are_there_are_found() -> None:
    random = np.random.default_rng(0)
    outputs, channels = random.permutation(16) % 4, random.permutation(32) % 4
    energy = (outputs[:, None] == channels) + 0.1 * random.random((16, 32))
    found = co_cluster(energy, 4)
    assert np.array_equal(found[0][:, None] == found[1], outputs[:, None] == channels)


def test_outputs_with_like_profiles_are_together_whatever_they_hold() -> None:
    random = np.random.default_rng(0)
    labels = random.permutation(24) % 4
    energy = np.eye(4)[labels].repeat(8, axis=1) + 0.3 * random.random((24, 32))
    found = cluster(energy * random.random((24, 1)), 4)
    assert np.array_equal(found[:, None] == found, labels[:, None] == labels)


def test_nothing_to_go_by_still_gives_equal_parts() -> None:
    for labels in (cluster(np.zeros((8, 4)), 4), *co_cluster(np.zeros((8, 12)), 4)):
        assert len(set(np.bincount(labels).tolist())) == 1


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("kind", ["random", "skewed", "ties", "all the same", "tiny"])
def test_many_things_are_assigned_as_well_as_by_scipy(parts: int, kind: str) -> None:
    random = np.random.default_rng(parts)
    gain = random.normal(size=(320, parts))
    if kind == "skewed":
        gain += 3 * random.normal(size=parts)
    elif kind == "ties":
        gain = np.round(gain)
    elif kind == "all the same":
        gain[:] = gain[0]
    elif kind == "tiny":
        gain *= 1e-9
    found = assign(gain)
    assert (np.bincount(found, minlength=parts) == len(gain) // parts).all()
    places = np.repeat(np.arange(parts), len(gain) // parts)
    things, best = linear_sum_assignment(gain[:, places], maximize=True)
    reached = gain[np.arange(len(gain)), found].sum()
    wanted = gain[things, places[best]].sum()
    assert reached == pytest.approx(wanted, abs=1e-10 * np.abs(gain).sum())
