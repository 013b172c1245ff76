from __future__ import annotations

import numpy as np
from correlated import oracle

from passes.decompose.clusters import cluster, co_cluster


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
